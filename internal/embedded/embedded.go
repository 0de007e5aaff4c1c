// Package embedded is the embedded Redis of locktest and of whatever has no
// testing.TB for that: the runnable examples of the lock packages, and the
// programs in examples.
package embedded

import (
	"context"

	"github.com/alicebob/miniredis/v2"
	"github.com/redis/go-redis/v9"

	"github.com/holdfast-go/holdfast"
)

// Run starts a server in which TTLs run in real time.
func Run() (*miniredis.Miniredis, error) {
	server, err := miniredis.Run()
	if err != nil {
		return nil, err
	}
	PassTime(server)
	return server, nil
}

// Client starts a server and returns a client of it; stop ends both.
func Client(ctx context.Context, opts ...holdfast.Option) (client *holdfast.Client, stop func()) {
	server, err := Run()
	if err != nil {
		panic(err)
	}
	rdb := redis.NewClient(&redis.Options{Addr: server.Addr()})
	client, err = holdfast.New(rdb, opts...)
	if err != nil {
		panic(err)
	}
	return client, func() {
		_ = client.Close(ctx)
		_ = rdb.Close()
		server.Close()
	}
}
