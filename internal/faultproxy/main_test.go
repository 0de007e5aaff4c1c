package faultproxy_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"go.uber.org/goleak"

	"github.com/holdfast-go/holdfast/internal/faultproxy"
	"github.com/holdfast-go/holdfast/internal/testredis"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// bench is a server with a proxy before it, and a client on each side of the proxy.
type bench struct {
	server *testredis.Server
	proxy  *faultproxy.Proxy
	direct *redis.Client // sees what the server has done
	rdb    *redis.Client // goes through the proxy, retries nothing, heeds ctx
}

func newBench(t *testing.T, opts ...func(*redis.Options)) bench {
	t.Helper()
	server := testredis.Start(t)
	proxy := faultproxy.New(t, server.Addr())
	return bench{server, proxy, server.Client(t), newClient(t, proxy, opts...)}
}

func newClient(t *testing.T, proxy *faultproxy.Proxy, opts ...func(*redis.Options)) *redis.Client {
	t.Helper()
	o := &redis.Options{Addr: proxy.Addr(), MaxRetries: -1, ContextTimeoutEnabled: true, DisableIdentity: true}
	for _, opt := range opts {
		opt(o)
	}
	rdb := redis.NewClient(o)
	t.Cleanup(func() { _ = rdb.Close() })
	return rdb
}

func resp2(o *redis.Options) { o.Protocol = 2 }

// get reads a key past the proxy; a missing one is "".
func (b bench) get(t *testing.T, key string) string {
	t.Helper()
	text, err := b.direct.Get(t.Context(), key).Result()
	if err != nil && !errors.Is(err, redis.Nil) {
		t.Fatal(err)
	}
	return text
}

// limit is for what must come: it is never spent by a test that passes.
func limit(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	t.Cleanup(cancel)
	return ctx
}

// soon is for what must not come: a call under this context is to fail.
func soon(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	t.Cleanup(cancel)
	return ctx
}

// isTimeout: go-redis sets a connection's deadline from ctx, and which of the two
// errors comes out depends on which is seen first.
func isTimeout(err error) bool {
	return errors.Is(err, os.ErrDeadlineExceeded) || errors.Is(err, context.DeadlineExceeded)
}

func waitHit(t *testing.T, r *faultproxy.Rule) {
	t.Helper()
	if err := r.WaitHit(limit(t)); err != nil {
		t.Fatal(err)
	}
}

// async runs f beside the test.
func async(f func() error) <-chan error {
	done := make(chan error, 1)
	go func() { done <- f() }()
	return done
}

func receive[T any](t *testing.T, ch <-chan T) T {
	t.Helper()
	select {
	case v := <-ch:
		return v
	case <-limit(t).Done():
		t.Fatal("nothing came")
		panic("unreachable")
	}
}

func mustPend[T any](t *testing.T, ch <-chan T) {
	t.Helper()
	select {
	case v := <-ch:
		t.Fatalf("came too early: %v", v)
	default:
	}
}

// poll waits until the condition is true, and fails the test if it never is.
func poll(t *testing.T, what string, ok func() bool) {
	t.Helper()
	ctx := limit(t)
	ticker := time.NewTicker(2 * time.Millisecond)
	defer ticker.Stop()
	for !ok() {
		select {
		case <-ticker.C:
		case <-ctx.Done():
			t.Fatalf("not in time: %s", what)
		}
	}
}

// wire is a connection without a client library, to see each byte.
type wire struct {
	t    *testing.T
	conn net.Conn
	br   *bufio.Reader
}

func dialWire(t *testing.T, addr string) *wire {
	t.Helper()
	var d net.Dialer
	conn, err := d.DialContext(t.Context(), "tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	if err := conn.SetDeadline(time.Now().Add(10 * time.Second)); err != nil {
		t.Fatal(err)
	}
	return &wire{t: t, conn: conn, br: bufio.NewReader(conn)}
}

// send writes commands, each given as words, in one piece.
func (w *wire) send(commands ...string) {
	w.t.Helper()
	var text strings.Builder
	for _, command := range commands {
		words := strings.Fields(command)
		fmt.Fprintf(&text, "*%d\r\n", len(words))
		for _, word := range words {
			fmt.Fprintf(&text, "$%d\r\n%s\r\n", len(word), word)
		}
	}
	if _, err := io.WriteString(w.conn, text.String()); err != nil {
		w.t.Fatal(err)
	}
}

// expect reads exactly what is written here with spaces for line ends.
func (w *wire) expect(want string) {
	w.t.Helper()
	want = strings.ReplaceAll(want, " ", "\r\n") + "\r\n"
	got := make([]byte, len(want))
	if n, err := io.ReadFull(w.br, got); err != nil || string(got) != want {
		w.t.Fatalf("got %q, %v; want %q", got[:n], err, want)
	}
}

// toRESP3 switches the connection over. What HELLO answers depends on the server.
func (w *wire) toRESP3(hello ...string) {
	w.t.Helper()
	w.send(strings.Join(append([]string{"HELLO 3"}, hello...), " "), "ECHO ready")
	for line := ""; line != "ready\r\n"; {
		var err error
		if line, err = w.br.ReadString('\n'); err != nil {
			w.t.Fatal(err)
		}
	}
}

// reset closes the connection so that the other side's next write fails.
func (w *wire) reset() {
	w.t.Helper()
	conn, ok := w.conn.(*net.TCPConn)
	if !ok {
		w.t.Fatal("not TCP")
	}
	if err := errors.Join(conn.SetLinger(0), conn.Close()); err != nil {
		w.t.Fatal(err)
	}
}

// expectSilence fails the test if a byte or the end of the connection comes soon.
func (w *wire) expectSilence() {
	w.t.Helper()
	_ = w.conn.SetReadDeadline(time.Now().Add(50 * time.Millisecond))
	b, err := w.br.ReadByte()
	if !isTimeout(err) {
		w.t.Fatalf("got %q, %v; want silence", b, err)
	}
	_ = w.conn.SetReadDeadline(time.Now().Add(10 * time.Second))
}

func (w *wire) expectEnd() {
	w.t.Helper()
	if b, err := w.br.ReadByte(); err == nil {
		w.t.Fatalf("got %q; want the end of the connection", b)
	}
}
