// Package server gives the examples their Redis.
package server

import (
	"fmt"
	"os"

	"github.com/redis/go-redis/v9"

	"github.com/holdfast-go/holdfast/internal/embedded"
)

// Start returns the Redis of REDIS_URL (redis://host:6379/0), or an embedded one
// that stop ends.
func Start() (options *redis.Options, stop func(), err error) {
	if url := os.Getenv("REDIS_URL"); url != "" {
		options, err = redis.ParseURL(url)
		return options, func() {}, err
	}
	own, err := embedded.Run()
	if err != nil {
		return nil, nil, err
	}
	fmt.Println("Redis: embedded; set REDIS_URL to use your own.")
	return &redis.Options{Addr: own.Addr()}, own.Close, nil
}
