"""The tasks of ``migration_dag`` around its copies, its arguments and its run Params."""
