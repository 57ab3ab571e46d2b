package cardsim

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"
)

const (
	// maxIntents bounds what is remembered: a payment takes about 1 KiB here.
	maxIntents = 200_000
	// maxRequestBytes bounds a request's body: a payment with its metadata.
	maxRequestBytes = 64 << 10
	// maxPage is the most that is listed at once, as Stripe has it.
	maxPage = 100
)

// Options are what a Server needs from outside.
type Options struct {
	Clock     func() time.Time // nil: time.Now
	SecretKey string           // that clients must know
	Secret    string           // that signs deliveries
	// URL returns the address under which cardholders reach the server, for the page on
	// which they authenticate: "http://127.0.0.1:8092".
	URL func() string
}

// Server is a simulated acquirer. It is safe for concurrent use.
type Server struct {
	opts Options
	mux  *http.ServeMux

	mu         sync.Mutex
	intents    map[string]*intent
	order      []*intent // oldest first
	answers    map[string]answer
	deliveries []Delivery
	faults     []Fault
	serial     int
	pages      map[string]*cardPage // on which cards are entered
	forgotten  map[string]bool      // tokens of cards that were detached
}

// intent is a payment, with its refunds and disputes.
type intent struct {
	id, key, order       string
	amount               int64
	currency             string
	card                 card
	customer             string
	status               string
	code, decline        string // of the last failure
	returnURL            string
	created, succeededAt time.Time
	refunds              []*refund // newest last
	disputes             []*dispute
}

type refund struct {
	id, status string
	amount     int64
	at         time.Time
}

type dispute struct {
	id, status string
	amount     int64
	at, wonAt  time.Time
}

// answer is what was answered to an idempotency key, to be answered again.
type answer struct {
	request string
	status  int
	body    any
}

// Fault is what happens to a request that changes something.
type Fault int

// The faults.
const (
	NoFault     Fault = iota
	LoseRequest       // the connection breaks before anything is done
	LoseAnswer        // everything is done, and the connection breaks
	Overload          // 429, and nothing is done
)

// New returns a Server without payments.
func New(o Options) *Server {
	if o.Clock == nil {
		o.Clock = time.Now
	}
	s := &Server{opts: o, intents: map[string]*intent{}, answers: map[string]answer{}, pages: map[string]*cardPage{}, forgotten: map[string]bool{}}
	s.mux = http.NewServeMux()
	s.mux.HandleFunc("GET /v1/payment_methods/{id}", s.authorised(s.getCard))
	s.mux.HandleFunc("POST /v1/payment_intents", s.authorised(s.once(s.create)))
	s.mux.HandleFunc("GET /v1/payment_intents", s.authorised(s.list))
	s.mux.HandleFunc("GET /v1/payment_intents/{id}", s.authorised(s.get))
	s.mux.HandleFunc("POST /v1/payment_intents/{id}/cancel", s.authorised(s.once(s.cancel)))
	s.mux.HandleFunc("POST /v1/refunds", s.authorised(s.once(s.refund)))
	s.mux.HandleFunc("GET /v1/refunds", s.authorised(s.listRefunds))
	s.mux.HandleFunc("GET /v1/disputes", s.authorised(s.listDisputes))
	s.mux.HandleFunc("POST /v1/payment_methods/{id}/detach", s.authorised(s.once(s.detach)))
	s.mux.HandleFunc("POST /v1/checkout/sessions", s.authorised(s.once(s.openPage)))
	s.mux.HandleFunc("GET /v1/checkout/sessions/{id}", s.authorised(s.getPage))
	s.mux.HandleFunc("POST /v1/checkout/sessions/{id}/expire", s.authorised(s.once(s.expirePage)))
	s.mux.HandleFunc("GET /pay/{id}", s.cardPage)
	s.mux.HandleFunc("POST /pay/{id}", s.cardPageAnswer)
	s.mux.HandleFunc("GET /challenge/{id}", s.challengePage)
	s.mux.HandleFunc("POST /challenge/{id}", s.challengeAnswer)
	s.mux.HandleFunc("GET /settlement/{file}", s.settlementFile)
	return s
}

// ServeHTTP implements http.Handler.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	r.Body = http.MaxBytesReader(w, r.Body, maxRequestBytes)
	s.mux.ServeHTTP(w, r)
}

// Inject lets the next requests that change something fail, one fault for each.
func (s *Server) Inject(faults ...Fault) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.faults = append(s.faults, faults...)
}

// Heal forgets the faults that have not come yet.
func (s *Server) Heal() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.faults = nil
}

// Payment is how a payment stands, amounts in minor units.
type Payment struct {
	Reference, Key, Status string
	Token                  string // of the card
	Amount                 int64  // that was asked for
	Received               int64  // that the card was charged
	Refunded               int64  // that is back on it
	TakenBack              int64  // by disputes that are open or lost
}

// Payments returns all payments, oldest first.
func (s *Server) Payments() []Payment {
	s.mu.Lock()
	defer s.mu.Unlock()
	list := make([]Payment, len(s.order))
	for i, p := range s.order {
		list[i] = Payment{Reference: p.id, Key: p.key, Status: p.status, Token: p.card.token, Amount: p.amount, Received: p.received(), Refunded: p.refunded(), TakenBack: p.takenBack()}
	}
	return list
}

// handler answers a request; the server is locked.
type handler func(r *http.Request) (int, any)

func (s *Server) authorised(h handler) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != "Bearer "+s.opts.SecretKey {
			reply(w, http.StatusUnauthorized, failure("invalid_request_error", "", "", "Invalid API Key provided", nil))
			return
		}
		if err := r.ParseForm(); err != nil {
			reply(w, http.StatusBadRequest, invalid("the form cannot be read"))
			return
		}
		s.mu.Lock()
		status, body := h(r)
		text, err := json.Marshal(body)
		s.mu.Unlock()
		if err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
		if status == lost {
			panic(http.ErrAbortHandler) // breaks the connection, as net/http has it
		}
		w.Header().Set("Content-Type", "application/json")
		w.Header().Set("Request-Id", "req_"+strconv.Itoa(status))
		if body == nil {
			text = nil
		}
		w.WriteHeader(status)
		_, _ = w.Write(text)
	}
}

// lost is the status of a request whose connection breaks.
const lost = -1

// once answers a request with a key that was seen before as it was answered then, and
// makes the faults that were ordered.
func (s *Server) once(h handler) handler {
	return func(r *http.Request) (int, any) {
		fault := NoFault
		if len(s.faults) > 0 {
			fault, s.faults = s.faults[0], s.faults[1:]
		}
		switch fault {
		case LoseRequest:
			return lost, nil
		case Overload:
			return http.StatusTooManyRequests, failure("rate_limit_error", "rate_limit", "", "Too many requests", nil)
		}
		key, request := r.Header.Get("Idempotency-Key"), r.URL.Path+"?"+r.PostForm.Encode()
		before, seen := s.answers[key]
		switch {
		case key != "" && seen && before.request != request:
			return http.StatusBadRequest, failure("idempotency_error", "", "", "Keys for idempotent requests can only be used with the same parameters", nil)
		case key == "" || !seen:
			before.request = request
			before.status, before.body = h(r)
			if key != "" && len(s.answers) < 2*maxIntents {
				s.answers[key] = before
			}
		}
		if fault == LoseAnswer {
			return lost, nil
		}
		return before.status, before.body
	}
}

func reply(w http.ResponseWriter, status int, body any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(body) // whoever hung up misses the answer
}

func failure(kind, code, decline, message string, p map[string]any) map[string]any {
	e := map[string]any{"type": kind, "message": message}
	for name, value := range map[string]string{"code": code, "decline_code": decline} {
		if value != "" {
			e[name] = value
		}
	}
	if p != nil {
		e["payment_intent"] = p
	}
	return map[string]any{"error": e}
}

func invalid(format string, args ...any) map[string]any {
	return failure("invalid_request_error", "", "", fmt.Sprintf(format, args...), nil)
}

// name makes an identifier; the same server makes the same ones.
func (s *Server) name(prefix string) string {
	s.serial++
	sum := sha256.Sum256(binary.BigEndian.AppendUint64([]byte(prefix), uint64(s.serial)))
	return fmt.Sprintf("%s_%06d%x", prefix, s.serial, sum[:6])
}

// card is what a token says of itself: pm_sim_<behaviour>[_<country>]_<anything>.
type card struct{ token, behaviour, country string }

// The behaviours of cards, by their tokens.
const (
	BehaviourOK         = "ok"
	BehaviourChallenge  = "challenge" // the cardholder must authenticate
	BehaviourDeclined   = "declined"
	BehaviourFunds      = "funds"
	BehaviourStolen     = "stolen"
	BehaviourProcessing = "processing" // decided only when it is looked at again
	BehaviourRefunds    = "norefund"   // refunds of it fail
	BehaviourOther      = "other"      // charges another amount than it was asked for
	// BehaviourAmount declines by the cents of the amount, in the words of ISO 8583:
	// 05 do not honour, 43 stolen, 51 insufficient funds, 54 expired, 61 limit.
	BehaviourAmount = "amount"
)

func parseToken(token string) (card, bool) {
	rest, ok := strings.CutPrefix(token, "pm_sim_")
	parts := strings.Split(rest, "_")
	if !ok || parts[0] == "" {
		return card{}, false
	}
	c := card{token: token, behaviour: parts[0], country: "FR"}
	if len(parts) > 1 && len(parts[1]) == 2 && strings.ToLower(parts[1]) == parts[1] && parts[1][0] >= 'a' {
		c.country = strings.ToUpper(parts[1])
	}
	switch c.behaviour {
	case BehaviourOK, BehaviourChallenge, BehaviourDeclined, BehaviourFunds, BehaviourStolen, BehaviourProcessing, BehaviourRefunds, BehaviourOther, BehaviourAmount:
		return c, true
	}
	return card{}, false
}

// expiryYears is how long cards are good for.
const expiryYears = 3

func (s *Server) getCard(r *http.Request) (int, any) {
	c, ok := parseToken(r.PathValue("id"))
	if !ok {
		return http.StatusNotFound, failure("invalid_request_error", "resource_missing", "", "No such PaymentMethod", nil)
	}
	return http.StatusOK, s.shownCard(c)
}

// shownCard is a card as the API shows it.
func (s *Server) shownCard(c card) map[string]any {
	sum := sha256.Sum256([]byte(c.token))
	return map[string]any{"id": c.token, "object": "payment_method", "type": "card", "customer": holder(c.token), "card": map[string]any{
		"brand": "visa", "last4": fmt.Sprintf("%04d", binary.BigEndian.Uint16(sum[:])%10000), "country": c.country,
		"exp_month": 12, "exp_year": s.opts.Clock().Year() + expiryYears,
	}}
}

// holder is the customer that a card is attached to.
func holder(token string) string {
	sum := sha256.Sum256([]byte(token))
	return fmt.Sprintf("cus_%x", sum[:7])
}
