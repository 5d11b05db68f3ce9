// Command netproxy stands before a registry as a network would: each request waits for a round trip, the first one of a connection for one
// more, all answers share one bandwidth, and all bodies of requests another of the same size. It counts what passes.
//
//	netproxy BACKEND      prints the address that it listens on
//
// GET /__set?rtt=10ms&bandwidth=100e6 begins anew with this network; /__counts and /__log tell what was asked for since then.
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strconv"
	"sync"
	"time"
)

// record is a request. Times are in seconds since the network was set.
type record struct {
	Start  float64 `json:"start"`
	Body   float64 `json:"body"` // when the answer's first byte was sent
	End    float64 `json:"end"`
	Method string  `json:"method"`
	Path   string  `json:"path"`
	Range  string  `json:"range,omitempty"`
	Status int     `json:"status"`
	Bytes  int64   `json:"bytes"`
	Fresh  bool    `json:"fresh"` // of a new connection
}

type network struct {
	backend   string
	transport *http.Transport

	mutex       sync.Mutex
	rtt         time.Duration
	bandwidth   float64   // bytes a second each way; 0: no limit
	free        time.Time // when the line is: for answers
	freeUp      time.Time // the same for bodies of requests
	start       time.Time
	records     []*record
	connections int
}

type connectionKey struct{}

// lateness is how late a sleep may end on a busy machine.
const lateness = 5 * time.Millisecond

func main() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "usage: netproxy BACKEND")
		os.Exit(2)
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		fmt.Fprintln(os.Stderr, "error:", err)
		os.Exit(1)
	}
	n := &network{
		backend:   os.Args[1],
		transport: &http.Transport{MaxIdleConnsPerHost: 256, DisableCompression: true},
		start:     time.Now(),
	}
	fmt.Println(listener.Addr())
	server := &http.Server{Handler: n, ConnContext: func(ctx context.Context, _ net.Conn) context.Context {
		isFresh := true
		return context.WithValue(ctx, connectionKey{}, &isFresh)
	}}
	fmt.Fprintln(os.Stderr, "error:", server.Serve(listener))
	os.Exit(1)
}

func (n *network) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	switch r.URL.Path {
	case "/__set":
		n.set(r)
	case "/__counts", "/__log":
		n.tell(w, r.URL.Path == "/__log")
	default:
		n.forward(w, r)
	}
}

func (n *network) set(r *http.Request) {
	n.mutex.Lock()
	defer n.mutex.Unlock()
	n.rtt, _ = time.ParseDuration(r.URL.Query().Get("rtt"))
	n.bandwidth, _ = strconv.ParseFloat(r.URL.Query().Get("bandwidth"), 64)
	n.start, n.free, n.freeUp, n.records, n.connections = time.Now(), time.Time{}, time.Time{}, nil, 0
}

func (n *network) tell(w http.ResponseWriter, all bool) {
	n.mutex.Lock()
	defer n.mutex.Unlock()
	var bytes int64
	for _, r := range n.records {
		bytes += r.Bytes
	}
	if all {
		json.NewEncoder(w).Encode(n.records)
		return
	}
	json.NewEncoder(w).Encode(map[string]any{
		"requests": len(n.records), "bytes": bytes, "connections": n.connections,
	})
}

func (n *network) forward(w http.ResponseWriter, r *http.Request) {
	// A connection has one request at a time.
	fresh := r.Context().Value(connectionKey{}).(*bool)
	entry, wait := n.begin(r, *fresh)
	*fresh = false
	time.Sleep(wait)
	body := r.Body
	if r.ContentLength != 0 {
		body = &uplink{r.Body, n}
	}
	out, err := http.NewRequestWithContext(r.Context(), r.Method, n.backend+r.URL.RequestURI(), body)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadGateway)
		return
	}
	out.Header, out.Host, out.ContentLength = r.Header.Clone(), r.Host, r.ContentLength
	response, err := n.transport.RoundTrip(out)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadGateway)
		return
	}
	defer response.Body.Close()
	for name, values := range response.Header {
		w.Header()[name] = values
	}
	w.WriteHeader(response.StatusCode)
	n.note(func(since float64) { entry.Status, entry.Body = response.StatusCode, since })
	n.copy(w, response.Body, entry)
	n.note(func(since float64) { entry.End = since })
}

func (n *network) begin(r *http.Request, isFresh bool) (*record, time.Duration) {
	n.mutex.Lock()
	defer n.mutex.Unlock()
	entry := &record{
		Start: time.Since(n.start).Seconds(), Method: r.Method, Path: r.URL.Path,
		Range: r.Header.Get("Range"), Fresh: isFresh,
	}
	n.records = append(n.records, entry)
	if !isFresh {
		return entry, n.rtt
	}
	n.connections++
	return entry, 2 * n.rtt
}

func (n *network) note(change func(since float64)) {
	n.mutex.Lock()
	defer n.mutex.Unlock()
	change(time.Since(n.start).Seconds())
}

func (n *network) copy(w http.ResponseWriter, from io.Reader, entry *record) {
	buffer := make([]byte, 64<<10)
	for {
		size, err := from.Read(buffer)
		if size > 0 {
			n.pace(&n.free, size)
			if _, err := w.Write(buffer[:size]); err != nil {
				return
			}
			w.(http.Flusher).Flush()
			n.note(func(float64) { entry.Bytes += int64(size) })
		}
		if err != nil {
			return
		}
	}
}

// uplink is the body of a request on its way.
type uplink struct {
	io.ReadCloser
	network *network
}

func (u *uplink) Read(buffer []byte) (int, error) {
	size, err := u.ReadCloser.Read(buffer)
	if size > 0 {
		u.network.pace(&u.network.freeUp, size)
	}
	return size, err
}

// pace waits until the shared line, which is free from then on, has carried so many bytes more.
func (n *network) pace(free *time.Time, size int) {
	n.mutex.Lock()
	if n.bandwidth <= 0 {
		n.mutex.Unlock()
		return
	}
	// A sleep that ends late is no time that the line was idle.
	if earliest := time.Now().Add(-lateness); free.Before(earliest) {
		*free = earliest
	}
	*free = free.Add(time.Duration(float64(size) / n.bandwidth * float64(time.Second)))
	wait := time.Until(*free)
	n.mutex.Unlock()
	if wait > time.Millisecond {
		time.Sleep(wait)
	}
}
