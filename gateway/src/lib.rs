//! Sallyport, an edge gateway: routes, balances, reloads and counts.
