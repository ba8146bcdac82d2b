"""What goes wrong in the account: settings for calls, launches, machines and the world around them."""
