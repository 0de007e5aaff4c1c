package locktest_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"go.uber.org/goleak"

	"github.com/holdfast-go/holdfast"
	"github.com/holdfast-go/holdfast/locktest"
	"github.com/holdfast-go/holdfast/mutex"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestClientsAreAsProcesses(t *testing.T) {
	t.Parallel()
	server := locktest.NewServer(t)
	lease, err := mutex.New(server.Client(), "shared").Lock(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := mutex.New(server.Client(), "shared").TryLock(t.Context()); !errors.Is(err, holdfast.ErrNotAcquired) {
		t.Errorf("TryLock by another client: %v", err)
	}
	if err := lease.Release(t.Context()); err != nil {
		t.Error(err)
	}
}

// TestTTLsRunInRealTime: neither later nor, under a stream of commands, earlier.
func TestTTLsRunInRealTime(t *testing.T) {
	t.Parallel()
	const ttl = 300 * time.Millisecond
	server := locktest.NewServer(t)
	rdb := redis.NewClient(&redis.Options{Addr: server.Addr()})
	defer func() { _ = rdb.Close() }()
	ctx := t.Context()
	for _, query := range []func() bool{
		func() bool { return rdb.Exists(ctx, "key").Val() == 1 },
		func() bool { // as a script sees it
			return rdb.Eval(ctx, "return redis.call('EXISTS', KEYS[1])", []string{"key"}).Val() == int64(1)
		},
	} {
		before := time.Now()
		rdb.Set(ctx, "key", "value", ttl)
		after := time.Now()
		for query() {
			if time.Since(after) > ttl+5*time.Second {
				t.Fatal("the key never expires")
			}
		}
		if d := time.Since(before); d < ttl {
			t.Errorf("the key expired after %v, TTL %v", d, ttl)
		}
	}
}

func TestLose(t *testing.T) {
	server := locktest.NewServer(t)
	for name, opts := range map[string][]holdfast.Option{
		"renewed":   nil,
		"unrenewed": {holdfast.WithoutRenewal()},
		"max hold":  {holdfast.WithMaxHold(time.Nanosecond), holdfast.WithTTL(200 * time.Millisecond)},
		"no prefix": {holdfast.WithTTL(time.Hour)},
	} {
		t.Run(name, func(t *testing.T) {
			client := server.Client(opts...)
			if name == "no prefix" {
				client = server.Client(holdfast.WithPrefix(""))
			}
			m := mutex.New(client, "lose")
			lease, err := m.Lock(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			next := make(chan error, 1)
			go func() { next <- m.Do(t.Context(), func(context.Context) error { return nil }) }()
			server.Lose(lease)
			if !errors.Is(lease.Err(), holdfast.ErrLost) {
				t.Errorf("Err: %v", lease.Err())
			}
			<-lease.Done()
			if err := <-next; err != nil {
				t.Errorf("the next waiter: %v", err)
			}
			server.Lose(lease) // over already: nothing happens
		})
	}
}
