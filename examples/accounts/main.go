// Accounts walks over a tree of accounts and locks each account that it comes
// to. The functions call each other without knowing who has locked what: the
// owner travels in the context, so an account that its caller holds already is
// entered again, while other walks wait.
//
//	go run ./examples/accounts
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/holdfast-go/holdfast"
	"github.com/holdfast-go/holdfast/examples/internal/server"
	"github.com/holdfast-go/holdfast/reentrant"
)

// children are the accounts below an account.
var children = map[string][]string{
	"group":  {"north", "south"},
	"north":  {"oslo", "bergen"},
	"south":  {"rome"},
	"oslo":   nil,
	"bergen": nil,
	"rome":   nil,
}

const (
	prefix = "accounts:" // of the keys of this example
	walks  = 3           // at once, each as a process of its own
)

func main() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if err := run(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "accounts:", err)
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
	for name := range children {
		if err := rdb.Set(ctx, prefix+name, 100, time.Hour).Err(); err != nil {
			return err
		}
	}
	failures := make([]error, walks)
	var wg sync.WaitGroup
	for i := range walks {
		wg.Go(func() { failures[i] = walk(ctx, rdb, i) })
	}
	wg.Wait()
	if err := errors.Join(failures...); err != nil {
		return err
	}
	return report(ctx, rdb)
}

func walk(ctx context.Context, rdb *redis.Client, number int) error {
	client, err := holdfast.New(rdb, holdfast.WithHolder(fmt.Sprintf("walk %d", number)))
	if err != nil {
		return err
	}
	b := &book{rdb: rdb, client: client, top: "group"}
	return errors.Join(b.interest(ctx, b.top), client.Close(ctx))
}

// book is the accounts as one process sees them.
type book struct {
	rdb    *redis.Client
	client *holdfast.Client
	top    string
}

func (b *book) lock(name string) *reentrant.Mutex {
	return reentrant.New(b.client, prefix+"lock:"+name)
}

// interest adds ten percent to an account and to those below it. It locks from
// the top down, as all walks do, so that no two of them wait for each other.
func (b *book) interest(ctx context.Context, name string) error {
	return b.lock(name).Do(ctx, func(ctx context.Context) error {
		balance, err := b.rdb.Get(ctx, prefix+name).Int()
		if err != nil {
			return err
		}
		if err := b.add(ctx, name, balance/10); err != nil { // locks name again
			return err
		}
		for _, child := range children[name] {
			if err := b.interest(ctx, child); err != nil {
				return err
			}
		}
		// A fee, to the account at the top: held since this walk began.
		if name == b.top {
			return nil
		}
		return b.transfer(ctx, name, b.top, 1)
	})
}

// transfer can be called by whoever holds none, one or both of the accounts.
func (b *book) transfer(ctx context.Context, from, to string, amount int) error {
	return b.lock(to).Do(ctx, func(ctx context.Context) error {
		return b.lock(from).Do(ctx, func(ctx context.Context) error {
			return errors.Join(b.add(ctx, from, -amount), b.add(ctx, to, amount))
		})
	})
}

// add reads and writes with nothing but the lock between.
func (b *book) add(ctx context.Context, name string, amount int) error {
	return b.lock(name).Do(ctx, func(ctx context.Context) error {
		balance, err := b.rdb.Get(ctx, prefix+name).Int()
		if err != nil {
			return err
		}
		return b.rdb.Set(ctx, prefix+name, balance+amount, time.Hour).Err()
	})
}

// report compares the accounts with what the walks make of them one by one.
func report(ctx context.Context, rdb *redis.Client) error {
	want := map[string]int{}
	for name := range children {
		want[name] = 100
	}
	for range walks {
		for name := range children {
			want[name] += want[name] / 10
		}
		want["group"] += len(children) - 1
		for name := range children {
			if name != "group" {
				want[name]--
			}
		}
	}
	fmt.Printf("After %d walks at once:\n", walks)
	for _, name := range []string{"group", "north", "oslo", "bergen", "south", "rome"} {
		balance, err := rdb.Get(ctx, prefix+name).Int()
		if err != nil {
			return err
		}
		fmt.Printf("  %-7s %4d\n", name, balance)
		if balance != want[name] {
			return fmt.Errorf("%s has %d, one walk after the other makes %d", name, balance, want[name])
		}
		if err := rdb.Del(ctx, prefix+name).Err(); err != nil {
			return err
		}
	}
	fmt.Println("as if they had come one by one.")
	return nil
}
