"""EC2 Auto Scaling with time: groups, their instances, lifecycle hooks, activities."""
