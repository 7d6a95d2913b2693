"""What several families integrate, transform and weigh with."""
