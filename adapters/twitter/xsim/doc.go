// Package xsim is a simulated X (Twitter) for tests and the demonstration: an
// http.Handler with the part of the X API v2 that adapters/twitter uses, and
// methods to play the people who tweet, edit and delete, and to order faults.
//
// It speaks the older tweet.* names of the API, gives fields only to who asks
// for them as X does, and knows nothing of payments.
package xsim
