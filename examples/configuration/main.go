// Configuration is read often and written rarely: many readers at once, a
// writer alone. A writer that has stored a new version becomes a reader without
// a gap, so that it announces just what it has stored.
//
//	go run ./examples/configuration
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/holdfast-go/holdfast"
	"github.com/holdfast-go/holdfast/examples/internal/server"
	"github.com/holdfast-go/holdfast/rwlock"
)

const (
	readers  = 8
	versions = 5
	// The two halves of the configuration, which belong together.
	hosts, ports = "configuration:hosts", "configuration:ports"
)

func main() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if err := run(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "configuration:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context) error {
	options, stop, err := server.Start()
	if err != nil {
		return err
	}
	defer stop()
	rdb := redis.NewClient(options)
	defer func() { _ = rdb.Close() }() // the program ends here
	client, err := holdfast.New(rdb)
	if err != nil {
		return err
	}
	if err = rdb.MSet(ctx, hosts, 0, ports, 0).Err(); err != nil {
		return err
	}
	config := &config{rdb: rdb, lock: rwlock.New(client, "configuration")}

	var done atomic.Bool
	var loads atomic.Int64
	failures := make([]error, readers)
	var wg sync.WaitGroup
	for i := range readers {
		wg.Go(func() {
			for failures[i] == nil && !done.Load() {
				failures[i] = config.load(ctx)
				loads.Add(1)
			}
		})
	}
	for version := 1; version <= versions && err == nil; version++ {
		err = config.store(ctx, version)
	}
	done.Store(true)
	wg.Wait()
	fmt.Printf("%d versions were stored among %d loads, each of one version.\n", versions, loads.Load())
	return errors.Join(err, errors.Join(failures...), client.Close(ctx), rdb.Del(ctx, hosts, ports).Err())
}

type config struct {
	rdb     *redis.Client
	lock    *rwlock.RWLock
	reading atomic.Int64
}

// load reads both halves, beside other readers.
func (c *config) load(ctx context.Context) error {
	return c.lock.RDo(ctx, func(ctx context.Context) error {
		c.reading.Add(1)
		defer c.reading.Add(-1)
		return c.same(ctx)
	})
}

// store writes both halves, alone, then announces them as a reader.
func (c *config) store(ctx context.Context, version int) error {
	writer, err := c.lock.Lock(ctx)
	if err != nil {
		return err
	}
	defer func() { _ = writer.Release(ctx) }() // where Downgrade was not reached
	if n := c.reading.Load(); n != 0 {
		return fmt.Errorf("%d readers beside a writer", n)
	}
	for _, half := range []string{hosts, ports} {
		if err = c.rdb.Set(writer.Context(ctx), half, version, 0).Err(); err != nil {
			return err
		}
		time.Sleep(time.Millisecond) // in between, a reader would see two versions
	}
	reader, err := c.lock.Downgrade(ctx, writer)
	if err != nil {
		return err
	}
	fmt.Printf("Version %d is stored, under token %d.\n", version, reader.Token())
	return errors.Join(c.same(reader.Context(ctx)), reader.Release(ctx))
}

func (c *config) same(ctx context.Context) error {
	both, err := c.rdb.MGet(ctx, hosts, ports).Result()
	if err != nil {
		return err
	}
	if both[0] != both[1] {
		return fmt.Errorf("half of version %v and half of version %v", both[0], both[1])
	}
	return nil
}
