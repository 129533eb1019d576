"""What percyd's protocol costs, measured beside plain git on the same machine.

Everything happens in a temporary folder with remotes of its own. A number alone says
little: each is told together with the cost of pushing one commit with git, measured in
the same minute.
"""
