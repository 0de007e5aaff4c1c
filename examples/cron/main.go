// Cron is a nightly job on three machines, of which one runs it: whichever asks
// first. The clocks of the machines differ a little and the job is short, so a
// machine whose clock is slow asks when the job is done already. The lock stays
// taken for a while after the job, and that machine is told that it comes too late.
//
//	go run ./examples/cron
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/holdfast-go/holdfast"
	"github.com/holdfast-go/holdfast/examples/internal/server"
	"github.com/holdfast-go/holdfast/mutex"
)

const (
	machines = 3
	nights   = 3
	night    = 800 * time.Millisecond // from one run to the next
	skew     = 50 * time.Millisecond  // between one clock and the next
	// quiet is for how long the lock stays taken, from when it was acquired: longer
	// than clocks can differ, and over before the next night.
	quiet = 500 * time.Millisecond

	runs = "cron:runs" // a list of the nights in which the job ran

	// What a process has in its environment if it is one of the machines.
	addressVariable = "HOLDFAST_EXAMPLE_REDIS"
	machineVariable = "HOLDFAST_EXAMPLE_MACHINE"
	firstVariable   = "HOLDFAST_EXAMPLE_FIRST" // the time of the first night, in ms
)

func main() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	do := run
	if os.Getenv(addressVariable) != "" {
		do = machine
	}
	if err := do(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "cron:", err)
		os.Exit(1)
	}
}

// run starts the machines and counts what they did.
func run(ctx context.Context) error {
	options, stop, err := server.Start()
	if err != nil {
		return err
	}
	defer stop()
	rdb := redis.NewClient(options)
	defer func() { _ = rdb.Close() }() // the program ends here
	if err = rdb.Del(ctx, runs).Err(); err != nil {
		return err
	}
	self, err := os.Executable()
	if err != nil {
		return err
	}
	first := strconv.FormatInt(time.Now().Add(2*time.Second).UnixMilli(), 10) // when all have started
	var all []*exec.Cmd
	for number := range machines {
		cmd := exec.CommandContext(ctx, self)
		cmd.Env = append(os.Environ(), addressVariable+"="+options.Addr,
			machineVariable+"="+strconv.Itoa(number), firstVariable+"="+first)
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
	ran, err := rdb.LRange(ctx, runs, 0, -1).Result()
	if err != nil {
		return err
	}
	fmt.Printf("%d machines, %d nights: the job ran %d times.\n", machines, nights, len(ran))
	for i, n := range ran {
		if n != strconv.Itoa(i) || len(ran) != nights {
			return fmt.Errorf("it ran in the nights %v", ran)
		}
	}
	return rdb.Del(ctx, runs).Err()
}

// machine is one process: it wakes up each night, as cron would wake it, and asks
// to run the job.
func machine(ctx context.Context) error {
	number, err := strconv.Atoi(os.Getenv(machineVariable))
	if err != nil {
		return err
	}
	first, err := strconv.ParseInt(os.Getenv(firstVariable), 10, 64)
	if err != nil {
		return err
	}
	rdb := redis.NewClient(&redis.Options{Addr: os.Getenv(addressVariable)})
	defer func() { _ = rdb.Close() }() // the process ends here
	client, err := holdfast.New(rdb, holdfast.WithHolder(fmt.Sprintf("machine %d", number)))
	if err != nil {
		return err
	}
	backup := mutex.New(client, "cron:backup",
		holdfast.WithMaxWait(0),     // who comes second does not want to run it after the first
		holdfast.WithMinHold(quiet), // nor to run it again, however short it was
	)
	for n := range nights {
		late := time.Duration((number+n)%machines) * skew // another one is first each night
		time.Sleep(time.Until(time.UnixMilli(first).Add(time.Duration(n)*night + late)))
		err = backup.Do(ctx, func(ctx context.Context) error {
			fmt.Printf("Night %d: machine %d runs the job.\n", n, number)
			return rdb.RPush(ctx, runs, n).Err() // the job
		})
		// Only this means that another machine has it. Any other error is one to
		// hear of: Redis was not there, the job failed, or the lock was lost.
		if errors.Is(err, holdfast.ErrNotAcquired) {
			fmt.Printf("Night %d: machine %d does not: %v\n", n, number, err)
			err = nil
		}
		if err != nil {
			break
		}
	}
	return errors.Join(err, client.Close(ctx)) // Close does not end the minimum hold
}
