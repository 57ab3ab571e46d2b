//go:build race

package main

// The race detector makes the database some ten times slower: less is played, and
// time goes by more slowly.
const (
	soakTweets = 100
	loadTweets = 200
	soakKills  = 1
	soakFactor = 10
)
