// Package embedded gives the runnable examples of the lock packages a client of
// an embedded Redis: they have no testing.TB for locktest.
package embedded

import (
	"context"

	"github.com/alicebob/miniredis/v2"
	"github.com/redis/go-redis/v9"

	"github.com/holdfast-go/holdfast"
)

// Client starts a server and returns a client of it; stop ends both.
func Client(ctx context.Context, opts ...holdfast.Option) (client *holdfast.Client, stop func()) {
	server, err := miniredis.Run()
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
