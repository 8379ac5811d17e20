[inputs: ["{mix,.formatter}.exs", "{lib,test,compat,bench}/**/*.{ex,exs}"], line_length: 120]
