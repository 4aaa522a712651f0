"""Events as a sense: measurements at times of their own, channel by channel."""
