"""Parts of DAGs: tasks wired together, without a decision of their own."""
