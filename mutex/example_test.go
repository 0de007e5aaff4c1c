package mutex_test

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/redis/go-redis/v9"

	"github.com/holdfast-go/holdfast"
	"github.com/holdfast-go/holdfast/mutex"
)

// exampleClient is a client of an embedded Redis.
func exampleClient(opts ...holdfast.Option) (*holdfast.Client, func()) {
	server, err := miniredis.Run()
	if err != nil {
		panic(err)
	}
	rdb := redis.NewClient(&redis.Options{Addr: server.Addr()})
	client, err := holdfast.New(rdb, opts...)
	if err != nil {
		panic(err)
	}
	return client, func() {
		_ = client.Close(context.Background())
		_ = rdb.Close()
		server.Close()
	}
}

func ExampleMutex_Lock() {
	client, stop := exampleClient()
	defer stop()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()

	lease, err := mutex.New(client, "invoice:42").Lock(ctx)
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(lease.Name(), "is held:", lease.Err() == nil)
	fmt.Println("released:", lease.Release(ctx) == nil)
	fmt.Println(lease.Err())
	// Output:
	// invoice:42 is held: true
	// released: true
	// holdfast: lease released
}

func ExampleMutex_TryLock() {
	client, stop := exampleClient(holdfast.WithHolder("the nightly job"))
	defer stop()
	ctx := context.Background()

	report := mutex.New(client, "report")
	lease, err := report.TryLock(ctx)
	if err != nil {
		fmt.Println(err)
		return
	}
	_, err = report.TryLock(ctx)
	var held *holdfast.HeldError
	if errors.As(err, &held) {
		fmt.Println("busy:", held.Holder, "has it")
	}
	if err := lease.Release(ctx); err != nil {
		fmt.Println(err)
	}
	// Output: busy: the nightly job has it
}

func ExampleMutex_Do() {
	client, stop := exampleClient()
	defer stop()

	err := mutex.New(client, "account").Do(context.Background(), func(ctx context.Context) error {
		lease, _ := holdfast.FromContext(ctx)
		fmt.Println("a fencing token for the resource:", lease.Token() > 0)
		return ctx.Err() // ctx ends if the lock is lost
	})
	fmt.Println(err)
	// Output:
	// a fencing token for the resource: true
	// <nil>
}
