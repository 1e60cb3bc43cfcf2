//! Load-balancing algorithms: smooth weighted round robin, least request, random, ring hash and Maglev.
