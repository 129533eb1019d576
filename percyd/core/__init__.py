"""The rules: ids, records, edges, operations, graph, plan documents, scheduling.

Pure: nothing here does IO or reads a clock or a random source.
"""
