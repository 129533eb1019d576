"""``percyd doctor``: is everything in place, and if not, what is to be done?

It looks and changes nothing, neither on the remote nor in the repository; the folder
for local state is made if it is not there, and what of a dead process can be cleared
away without loss goes when percyd's hub is opened.
"""
