// Package lua holds the Redis scripts of Holdfast and is the one place that
// runs them and decodes what they answer.
//
// Each script is a file of its own that begins with its KEYS, ARGV and replies;
// a line "-- include base" stands for the text of base.lua. What the kinds of
// locks do alike is in acquire, standing, release, pump and grant; how each keeps
// its holders, in mutex, reentrant and weighted. Scripts declare every key that
// they touch, take no wall-clock time from the caller, and have no "#!lua" line,
// so that they also run on miniredis.
//
// The package is importable because the tree of the project is public; its
// names follow the scripts and may change with them in any release. Programs
// use the lock packages.
package lua

import (
	"crypto/sha1" // the name that Redis gives to a script
	"embed"
	"encoding/hex"
	"strings"
)

//go:embed *.lua
var files embed.FS

// Script is one embedded script. Safe for concurrent use.
type Script struct {
	name   string
	source string
	sha    string
	polls  *Script // of an acquire script: what many polls of one lock go as; nil: one by one
	// The two ways to call it, boxed once: they are arguments of every call.
	evalsha, eval [2]any
}

// Name is the script's file name without its ending.
func (s *Script) Name() string { return s.name }

// Source is the whole text that is sent to Redis.
func (s *Script) Source() string { return s.source }

// SHA is the name under which Redis caches the script.
func (s *Script) SHA() string { return s.sha }

// The scripts of the mutex.
var (
	MutexAcquire = load("mutex_acquire")
	MutexRelease = load("mutex_release")
	MutexRenew   = load("mutex_renew")
	MutexDrop    = load("mutex_drop")
	MutexPump    = load("mutex_pump")
	MutexInspect = load("mutex_inspect")
	MutexEvict   = load("mutex_evict")
)

// The scripts of the reentrant lock.
var (
	ReentrantAcquire = load("reentrant_acquire")
	ReentrantRelease = load("reentrant_release")
	ReentrantRenew   = load("reentrant_renew")
	ReentrantDrop    = load("reentrant_drop")
	ReentrantPump    = load("reentrant_pump")
	ReentrantInspect = load("reentrant_inspect")
	ReentrantEvict   = load("reentrant_evict")
)

// The scripts of the semaphore and the read-write lock.
var (
	WeightedAcquire   = load("weighted_acquire").polledBy(WeightedPolls)
	WeightedPolls     = load("weighted_polls")
	WeightedRelease   = load("weighted_release")
	WeightedRenew     = load("weighted_renew")
	WeightedDrop      = load("weighted_drop")
	WeightedPump      = load("weighted_pump")
	WeightedInspect   = load("weighted_inspect")
	WeightedEvict     = load("weighted_evict")
	WeightedDowngrade = load("weighted_downgrade")
)

// load reads an embedded script and puts the shared texts where it asks for
// them. A missing file is a broken build, which the first test notices.
func load(name string) *Script {
	var source strings.Builder
	for line := range strings.Lines(read(name)) {
		if shared, ok := strings.CutPrefix(line, "-- include "); ok {
			line = read(strings.TrimSpace(shared))
		}
		source.WriteString(line)
	}
	digest := sha1.Sum([]byte(source.String()))
	sha := hex.EncodeToString(digest[:])
	return &Script{
		name:    name,
		source:  source.String(),
		sha:     sha,
		evalsha: [2]any{"evalsha", sha},
		eval:    [2]any{"eval", source.String()},
	}
}

func (s *Script) polledBy(many *Script) *Script {
	s.polls = many
	return s
}

func read(name string) string {
	text, err := files.ReadFile(name + ".lua")
	if err != nil {
		panic(err)
	}
	return string(text)
}
