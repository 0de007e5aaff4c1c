package servertest_test

import (
	"context"
	"errors"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/holdfast-go/holdfast"
	"github.com/holdfast-go/holdfast/internal/contract"
	"github.com/holdfast-go/holdfast/internal/testredis"
	"github.com/holdfast-go/holdfast/mutex"
)

// crumbs is a connection on which everything comes and goes a few bytes at a time.
type crumbs struct{ net.Conn }

func (c crumbs) Read(b []byte) (int, error) { return c.Conn.Read(b[:min(len(b), 3)]) }

func (c crumbs) Write(b []byte) (int, error) {
	sent := 0
	for sent < len(b) {
		n, err := c.Conn.Write(b[sent:min(len(b), sent+7)])
		if sent += n; err != nil {
			return sent, err
		}
	}
	return sent, nil
}

// Connections that carry everything in pieces, wake-ups and scripts as well, carry
// it all the same.
func TestConnectionInPieces(t *testing.T) {
	eachKind(t, func(b *bed, kind string) {
		t := b.t
		t.Helper()
		var users sync.WaitGroup
		for range 3 {
			rdb := b.s.Client(t, func(o *redis.Options) {
				o.Dialer = func(ctx context.Context, network, addr string) (net.Conn, error) {
					var d net.Dialer
					conn, err := d.DialContext(ctx, network, addr)
					return crumbs{conn}, err
				}
			})
			l := kinds[kind](newClient(t, rdb), "lock")
			users.Go(func() {
				for range 30 {
					contract.Release(t, contract.Lock(t, l))
				}
			})
		}
		users.Wait()
	})
}

// However often a client waits, gives up, fails and is handed a lock, it has one
// subscription, and after Close none.
func TestOneSubscription(t *testing.T) {
	eachKind(t, func(b *bed, kind string) {
		t := b.t
		t.Helper()
		channels := func() int { return len(b.admin.PubSubChannels(t.Context(), "holdfast:*").Val()) }
		const count = 3
		var clients []*holdfast.Client
		for range count {
			clients = append(clients, newClient(t, b.s.Client(t)))
		}
		var users sync.WaitGroup
		for _, c := range clients {
			l := kinds[kind](c, "lock")
			for range 4 {
				users.Go(func() {
					for i := range 100 {
						ctx, cancel := context.WithTimeout(t.Context(), time.Duration(i%3*20+1)*time.Millisecond)
						if lease, err := l.Lock(ctx); err == nil {
							contract.Release(t, lease)
						} else if !errors.Is(err, context.DeadlineExceeded) {
							t.Error(err)
						}
						cancel()
					}
				})
			}
		}
		users.Wait()
		if n := channels(); n > count {
			t.Errorf("%d channels of %d clients", n, count)
		}
		if n := subscribers(b); n > count {
			t.Errorf("%d connections subscribe, of %d clients", n, count)
		}
		for _, c := range clients {
			if err := c.Close(t.Context()); err != nil {
				t.Error(err)
			}
		}
		contract.Eventually(t, "the subscriptions to end", func() bool { return channels() == 0 && subscribers(b) == 0 })
	})
}

// subscribers is how many connections are subscribed to something.
func subscribers(b *bed) (n int) {
	for line := range strings.Lines(b.admin.ClientList(b.t.Context()).Val()) {
		if !strings.Contains(line, " sub=0 ") {
			n++
		}
	}
	return n
}

// A master that is cut off with its clients goes on, and so does the one that was
// promoted in its place: each gives the lock. What the docs recommend ends the old
// holder's lease within a TTL, told why: renewals that a replica must have, or a
// master that refuses to write without one.
func TestSplitBrain(t *testing.T) {
	t.Parallel()
	const ttl = 1500 * time.Millisecond
	for name, c := range map[string]struct {
		args []string
		opts []holdfast.Option
	}{
		"WithReplicas":          {opts: []holdfast.Option{holdfast.WithReplicas(1, 300*time.Millisecond)}},
		"min-replicas-to-write": {args: []string{"--min-replicas-to-write", "1"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			master := testredis.Start(t, c.args...)
			replica := testredis.StartReplica(t, master)
			old := mutex.New(newClient(t, master.Client(t), holdfast.WithTTL(ttl)), "lock", c.opts...)
			first := contract.Lock(t, old)
			replicated(t, master)
			if err := replica.Client(t).Do(t.Context(), "REPLICAOF", "NO", "ONE").Err(); err != nil {
				t.Fatal(err)
			}
			split := time.Now()
			second := contract.Lock(t, mutex.New(newClient(t, replica.Client(t)), "lock")) // it was replicated: after its TTL
			if second.Token() <= first.Token() {
				t.Errorf("token %d after %d", second.Token(), first.Token())
			}
			contract.Eventually(t, "the old holder to be told", func() bool { return first.Err() != nil })
			var why *holdfast.LostError
			if err := first.Err(); !errors.As(err, &why) || why.Reason != holdfast.LostUnreachable || why.Err == nil {
				t.Errorf("the old holder: %v", err)
			}
			if d := time.Since(split); d > 2*ttl {
				t.Errorf("the old holder was told %v after the split", d)
			}
			contract.Release(t, second)
		})
	}
}
