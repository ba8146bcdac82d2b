"""How the account behaves in time: no HTTP, no moto and no processes here, only state, a clock and rules."""
