"""What calls of models and tools cost the budgets that they are made under: one purse for loops of ours and of others."""
