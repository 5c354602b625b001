"""What is wrong with the weekly tables, told once to whoever should know, and told when it is over."""
