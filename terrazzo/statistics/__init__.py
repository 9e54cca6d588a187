"""Statistics of many areas: polygons × periods × bands or expressions to one table, in bounded memory, going on where it was stopped."""
