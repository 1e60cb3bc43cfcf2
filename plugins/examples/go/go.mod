module sallyport.example/guests

go 1.24
