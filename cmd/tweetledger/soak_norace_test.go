//go:build !race

package main

// What go test plays.
const (
	soakTweets = 400
	loadTweets = 2000
	soakKills  = 3
	// soakFactor is how much faster time goes by than on the wall: back-off of minutes
	// must not take minutes.
	soakFactor = 100
)
