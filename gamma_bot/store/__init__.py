"""What Gamma remembers: tables and the queries over them."""
