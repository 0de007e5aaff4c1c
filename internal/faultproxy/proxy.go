package faultproxy

import (
	"context"
	"net"
	"sync"
	"testing"
)

// Proxy stands between clients and one Redis server. It is safe for concurrent use.
type Proxy struct {
	target   string
	listener net.Listener
	ctx      context.Context // ends with the proxy
	cancel   context.CancelFunc
	wg       sync.WaitGroup

	// mu guards everything below, and the state of rules and connections. It is held
	// for moments only, never during I/O.
	mu      sync.Mutex
	changed chan struct{} // closed and replaced when something that await looks at changes
	closed  bool
	lastID  int64
	conns   map[*conn]struct{}
	rules   []*Rule

	upBlocked, downBlocked bool

	pushes pushState
}

// New starts a proxy in front of the server at target (host:port). When the test
// ends, the proxy closes its connections and waits for its goroutines.
func New(tb testing.TB, target string) *Proxy {
	tb.Helper()
	ctx, cancel := context.WithCancel(context.WithoutCancel(tb.Context()))
	var lc net.ListenConfig
	listener, err := lc.Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		cancel()
		tb.Fatalf("faultproxy: %v", err)
	}
	p := &Proxy{
		target: target, listener: listener, ctx: ctx, cancel: cancel,
		changed: make(chan struct{}), conns: make(map[*conn]struct{}),
	}
	p.wg.Go(p.accept)
	tb.Cleanup(p.close)
	return p
}

// Addr returns the host:port to connect to.
func (p *Proxy) Addr() string { return p.listener.Addr().String() }

// Conns returns the number of open connections.
func (p *Proxy) Conns() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.conns)
}

func (p *Proxy) accept() {
	for {
		client, err := p.listener.Accept()
		if err != nil {
			return // closed
		}
		p.serve(client)
	}
}

// serve is called by accept only, so that close, which waits for accept, waits for
// each connection too.
func (p *Proxy) serve(client net.Conn) {
	c := newConn(p, client)
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		_ = client.Close()
		return
	}
	p.lastID++
	c.id = p.lastID
	p.conns[c] = struct{}{}
	p.wg.Go(c.run)
}

func (p *Proxy) close() {
	p.mu.Lock()
	p.closed = true
	p.mu.Unlock()
	_ = p.listener.Close() // it may be closed only here
	p.CutAll()
	p.cancel()
	p.wg.Wait()
}

// await blocks until ok returns true, and returns ctx's error if that ends first.
// ok is called with mu held; whoever changes what it looks at calls notify.
func (p *Proxy) await(ctx context.Context, ok func() bool) error {
	for {
		p.mu.Lock()
		changed := p.changed
		done := ok()
		p.mu.Unlock()
		if done {
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// notify wakes all that await. The caller holds mu.
func (p *Proxy) notify() {
	close(p.changed)
	p.changed = make(chan struct{})
}
