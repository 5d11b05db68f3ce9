module seekable-erofs-native/bench-netproxy

go 1.24.3
