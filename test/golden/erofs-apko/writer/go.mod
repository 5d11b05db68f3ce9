module example.test/apko-layer

go 1.26.0

require chainguard.dev/apko v1.2.39

// The proxy has no v0.3.2-0.20260804074615-52cc42c5291c, which apko asks for.
replace github.com/erofs/go-erofs => github.com/erofs/go-erofs v0.3.1
