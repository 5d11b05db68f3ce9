module seekable-erofs-native/bench

go 1.24.3

require (
	github.com/containerd/go-dmverity v0.1.0
	github.com/klauspost/compress v1.18.5
)

require (
	github.com/google/uuid v1.6.0 // indirect
	golang.org/x/sys v0.41.0 // indirect
)
