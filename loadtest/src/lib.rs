//! Load tests and the proxies that Sallyport is compared with.
