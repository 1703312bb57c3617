"""What the fault cases run on: servers of their own, a host application, a receiver, workers, and the count afterwards."""
