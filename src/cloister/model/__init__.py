"""What things are: frozen data and pure rules, standard library only."""
