package xsim

import (
	"log/slog"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"
)

// Options are what a Server needs from outside. Zero values are fine.
type Options struct {
	Clock     func() time.Time                       // nil: time.Now
	After     func(d time.Duration) <-chan time.Time // for keep-alives; nil: time.After
	AppToken  string                                 // bearer token of the app; "": DefaultAppToken
	MaxTweets int                                    // how many tweets, and direct messages, are kept, the newest; 0: defaultMaxTweets
	PostNames bool                                   // speak of posts, as the newest reference does, instead of tweets
	Log       *slog.Logger                           // nil: discarded
	// Tell, where it is set, is told what clients publish and send through the API. It
	// must not call the server.
	Tell func(line string)
}

// DefaultAppToken is the app's bearer token where Options name none.
const DefaultAppToken = "xsim-app-token"

const (
	// defaultMaxTweets bounds what is remembered: a tweet takes about 1 KiB here.
	defaultMaxTweets = 200_000
	// keepAlive is how often an idle stream gets a newline. Source: X, filtered stream.
	keepAlive = 20 * time.Second
	// streamQueue is how many events wait for a slow reader before it is cut off,
	// as X does ("full buffer").
	streamQueue = 10_000
	// mostRequestBytes bounds a request's body; the largest is a thousand rules.
	mostRequestBytes = 1 << 20
)

// User is an account of the simulated X.
type User struct {
	ID     string // numeric
	Handle string // without @
	Name   string
}

// Server is a simulated X. It is safe for concurrent use.
type Server struct {
	opts   Options
	mux    *http.ServeMux
	closed chan struct{}
	once   sync.Once

	mu        sync.Mutex
	users     map[string]*account // by id
	handles   map[string]string   // lower-case handle to id
	tweets    map[string]*tweet
	order     []*tweet        // oldest first; those deleted from memory are gone from its front
	written   map[string]bool // author and text of what the API published, to refuse it a second time
	lastID    uint64
	rules     []rule
	filtered  *subscriber
	listeners map[*subscriber]bool // of the compliance stream of posts
	watchers  map[*subscriber]bool // of the compliance stream of accounts
	faults    faults
	oauth     oauthState
	joined    chan struct{} // closed and made anew when a stream connects
	directs   []*direct     // oldest first
	webhook   *webhook      // nil: none is registered
	// deletionsTaken are the ids of deleted tweets that the webhook was told of.
	deletionsTaken map[string]bool
	workers        sync.WaitGroup
}

// account is a user with what happened to the account.
type account struct {
	User
	suspended bool
	protected bool
}

// New returns a Server without users, tweets and rules.
func New(opts Options) *Server {
	if opts.Clock == nil {
		opts.Clock = time.Now
	}
	if opts.After == nil {
		opts.After = time.After
	}
	if opts.AppToken == "" {
		opts.AppToken = DefaultAppToken
	}
	if opts.MaxTweets <= 0 {
		opts.MaxTweets = defaultMaxTweets
	}
	if opts.Log == nil {
		opts.Log = slog.New(slog.DiscardHandler)
	}
	s := &Server{
		opts: opts, closed: make(chan struct{}), users: map[string]*account{}, handles: map[string]string{},
		tweets: map[string]*tweet{}, written: map[string]bool{}, listeners: map[*subscriber]bool{}, watchers: map[*subscriber]bool{}, joined: make(chan struct{}),
		deletionsTaken: map[string]bool{}, faults: faults{failures: map[Endpoint]*Failure{}},
	}
	s.mux = s.routes()
	return s
}

// ServeHTTP implements http.Handler.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) { s.mux.ServeHTTP(w, r) }

// Close ends all open streams and deliveries to the webhook, so that the HTTP server around it can shut down.
func (s *Server) Close() {
	s.once.Do(func() { close(s.closed) })
	s.workers.Wait()
}

// AppToken is the bearer token that streams, rules and look-ups take.
func (s *Server) AppToken() string { return s.opts.AppToken }

// UserToken is the bearer token with which the user acts: it may tweet as userID.
func (s *Server) UserToken(userID string) string { return userTokenPrefix + userID }

const userTokenPrefix = "xsim-user-"

// AddUser adds an account, or renames the one with this id.
func (s *Server) AddUser(id, handle, name string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.addUser(id, handle, name)
}

func (s *Server) addUser(id, handle, name string) {
	a := s.users[id]
	if a == nil {
		a = &account{}
		s.users[id] = a
	} else {
		delete(s.handles, strings.ToLower(a.Handle))
	}
	a.User = User{ID: id, Handle: handle, Name: name}
	s.handles[strings.ToLower(handle)] = id
}

// FindUser returns the id of an account that is named by handle or id.
func (s *Server) FindUser(name string) (string, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	id := s.userID(strings.TrimPrefix(name, "@"))
	return id, id != nobody
}

// Suspend makes an account and its tweets invisible, as X does to offenders.
func (s *Server) Suspend(userID string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if a := s.users[userID]; a != nil {
		a.suspended = true
		s.announceGone("user_suspend", userID)
	}
}

// Leave deletes an account: neither it nor its tweets can be seen any more.
func (s *Server) Leave(userID string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if a := s.users[userID]; a != nil {
		a.suspended = true
		s.announceGone("user_delete", userID)
	}
}

// Protect makes an account's tweets visible to its followers only.
func (s *Server) Protect(userID string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if a := s.users[userID]; a != nil {
		a.protected = true
		s.announceGone("user_protect", userID)
	}
}

// snowflakeEpoch is the millisecond from which X counts its ids.
const snowflakeEpoch = 1288834974657

// newID returns the next id: it grows, and tells its time as X's ids do.
func (s *Server) newID() string {
	ms := max(s.opts.Clock().UnixMilli()-snowflakeEpoch, 1)
	s.lastID = max(uint64(ms)<<22, s.lastID+1)
	return strconv.FormatUint(s.lastID, 10)
}

func number(id string) uint64 {
	n, err := strconv.ParseUint(id, 10, 64)
	if err != nil {
		return 0
	}
	return n
}
