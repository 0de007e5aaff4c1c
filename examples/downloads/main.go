// Downloads limits concurrency across services: a pool of workers in three
// processes that never runs more than five downloads at once.
//
//	go run ./examples/downloads
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/holdfast-go/holdfast"
	"github.com/holdfast-go/holdfast/examples/internal/server"
	"github.com/holdfast-go/holdfast/semaphore"
)

const (
	limit     = 5
	processes = 3
	workers   = 4 // in each process
	files     = 5 // for each worker
	running   = "downloads:running"
	highest   = "downloads:highest"
	finished  = "downloads:finished"

	// addressVariable tells a process that it is one of the pool, and where
	// Redis is.
	addressVariable = "HOLDFAST_EXAMPLE_REDIS"
)

func main() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	do := run
	if os.Getenv(addressVariable) != "" {
		do = pool
	}
	if err := do(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "downloads:", err)
		os.Exit(1)
	}
}

// run starts the processes of the pool and tells what they did.
func run(ctx context.Context) error {
	options, stop, err := server.Start()
	if err != nil {
		return err
	}
	defer stop()
	rdb := redis.NewClient(options)
	defer func() { _ = rdb.Close() }() // the program ends here
	if err = rdb.Del(ctx, running, highest, finished).Err(); err != nil {
		return err
	}
	self, err := os.Executable()
	if err != nil {
		return err
	}
	var all []*exec.Cmd
	for range processes {
		cmd := exec.CommandContext(ctx, self)
		cmd.Env = append(os.Environ(), addressVariable+"="+options.Addr)
		cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
		if err = cmd.Start(); err != nil {
			return err
		}
		all = append(all, cmd)
	}
	var failures []error
	for _, cmd := range all {
		failures = append(failures, cmd.Wait())
	}
	if err = errors.Join(failures...); err != nil {
		return err
	}
	most, err := rdb.ZCard(ctx, highest).Result()
	if err != nil {
		return err
	}
	done, err := rdb.Get(ctx, finished).Int()
	if err != nil {
		return err
	}
	fmt.Printf("%d workers in %d processes made %d downloads, never more than %d at once.\n",
		processes*workers, processes, done, most)
	if most > limit || done != processes*workers*files {
		return errors.New("that is not what was asked for")
	}
	return rdb.Del(ctx, running, highest, finished).Err()
}

// pool is one process: its workers share the permits with those of the others.
func pool(ctx context.Context) error {
	rdb := redis.NewClient(&redis.Options{Addr: os.Getenv(addressVariable)})
	defer func() { _ = rdb.Close() }() // the process ends here
	client, err := holdfast.New(rdb)
	if err != nil {
		return err
	}
	downloads := semaphore.New(client, "downloads", limit)
	failures := make([]error, workers)
	var wg sync.WaitGroup
	for i := range workers {
		wg.Go(func() {
			for range files {
				if err := downloads.Do(ctx, 1, func(ctx context.Context) error { return download(ctx, rdb) }); err != nil {
					failures[i] = err
					return
				}
			}
		})
	}
	wg.Wait()
	return errors.Join(errors.Join(failures...), client.Close(ctx))
}

// download counts how many run at once, everywhere: highest has a member for
// each number that was reached.
func download(ctx context.Context, rdb *redis.Client) error {
	n, err := rdb.Incr(ctx, running).Result()
	if err != nil {
		return err
	}
	if err := rdb.ZAdd(ctx, highest, redis.Z{Score: float64(n), Member: n}).Err(); err != nil {
		return err
	}
	time.Sleep(5 * time.Millisecond) // the work
	return errors.Join(rdb.Decr(ctx, running).Err(), rdb.Incr(ctx, finished).Err())
}
