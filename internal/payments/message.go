package payments

import (
	"context"
	"strings"
	"time"

	"tweetledger/ledger"
)

// MessageKind is what a message is in its conversation.
type MessageKind string

// The kinds of message. All but a repost can carry a command of their author's own.
const (
	Original MessageKind = "original"
	Answer   MessageKind = "reply"
	Quote    MessageKind = "quote"
	Repost   MessageKind = "repost" // a retweet: the words of somebody else
	Direct   MessageKind = "direct" // a direct message to the bank: nobody else reads it, nor its answer
)

// Message is one version of a message as some channel delivered it. Channels
// hand it over; nothing in it is trusted.
type Message struct {
	Channel        string   // "twitter", "twitter-dm": see linkChannel
	ID             string   // of this version
	FirstID        string   // the first id of the edit chain; ID where it was never edited
	Version        int      // 0 for the original, 1 for its first edit, …
	Chain          []string // the ids of all versions that the channel told of; empty where it was never edited
	ConversationID string   // may be empty
	AuthorID       string   // numeric id: handles are renamed and recycled, ids are not
	AuthorHandle   string   // without @, as it was then; may be empty
	Kind           MessageKind
	Text           string // unescaped; without the text of a quoted message
	Mentions       []Mention
	Language       string    // BCP 47 as the channel guessed it; may be empty
	CreatedAt      time.Time // UTC
	Via            string    // how it came: "stream", "mentions", "archive", "import", …
}

// Mention is a user named in a message's text. The channel has resolved the
// handle to the numeric id that it belonged to when the message was written.
type Mention struct {
	UserID string `json:"user_id"`
	Handle string `json:"handle"` // without @
}

// Deletion says that a message is gone from its channel. Deleting one version
// deletes the whole edit chain.
type Deletion struct {
	Channel  string
	ID       string    // of any version
	AuthorID string    // empty: the channel did not say
	At       time.Time // UTC; zero: now
}

// directSuffix marks the channel of a service's direct messages.
const directSuffix = "-dm"

// DirectChannel returns the name of the channel of direct messages beside a channel
// of posts. They are apart because their ids are given out apart, and because nobody
// can look them up later; the people are the same.
func DirectChannel(channel string) string { return channel + directSuffix }

// linkChannel returns the channel that the users of a channel are linked on.
func linkChannel(channel string) string { return strings.TrimSuffix(channel, directSuffix) }

// The commands. All but pay move no money.
const (
	CommandPay     = "pay"
	CommandBalance = "balance" // tells the writer the wallet's balance, by direct message
	CommandCancel  = "cancel"  // ends an order of the writer that was not confirmed yet
	CommandHelp    = "help"
	CommandLink    = "link" // tells where to link an account
)

// Command is what a message asks for, a payment's with the payee bound to a numeric
// id. The payee and the amount of all others are empty.
type Command struct {
	Name        string // CommandPay, …
	Hashtag     string // as configured, lower case, without #: "envoyer"
	Amount      ledger.Amount
	Currency    ledger.Currency
	PayeeID     string // numeric id of the mentioned payee
	PayeeHandle string // without @
	Language    string // "fr" or "en": the language to answer in
	Reference   string // of the order that CommandCancel names, as Order.Reference; empty: the newest one
}

// RefusalCode says why a message that was meant as a command is not one.
type RefusalCode string

// The reasons for which a parser refuses. Messages to people are made from them
// in one place (see reply.go).
const (
	RefusedNoAmount        RefusalCode = "no_amount"
	RefusedTwoAmounts      RefusalCode = "two_amounts"
	RefusedAmbiguousAmount RefusalCode = "ambiguous_amount" // 1.000€
	RefusedTooManyDecimals RefusalCode = "too_many_decimals"
	RefusedNotPositive     RefusalCode = "not_positive"
	RefusedCurrency        RefusalCode = "currency" // 20$
	RefusedTooLarge        RefusalCode = "amount_too_large"
	RefusedNoPayee         RefusalCode = "no_payee"
	RefusedTwoPayees       RefusalCode = "two_payees"
	RefusedSelf            RefusalCode = "payer_is_payee"
	RefusedBank            RefusalCode = "bank_is_payee"
	RefusedUnresolved      RefusalCode = "payee_unresolved" // a handle whose numeric id the channel did not give
	RefusedTwoCommands     RefusalCode = "two_commands"
)

// Refusal is why a command was refused, and where in the text: Start and End
// count code points of Message.Text; both are 0 where no place is to blame.
type Refusal struct {
	Code       RefusalCode
	Start, End int
}

// IgnoreReason says why a message is none of our business.
type IgnoreReason string

// The reasons to leave a message alone.
const (
	IgnoredNoMention IgnoreReason = "bank_not_mentioned"
	IgnoredNoHashtag IgnoreReason = "no_command_hashtag"
	IgnoredRepost    IgnoreReason = "repost"
	IgnoredOwn       IgnoreReason = "written_by_the_bank"
	IgnoredTooLong   IgnoreReason = "too_long"
)

// Parsed is what a parser makes of a message: exactly one of Command, Refusal
// and Ignored is set.
type Parsed struct {
	Command *Command
	Refusal *Refusal
	Ignored IgnoreReason
	// SecretWarning is set where the text holds a run of digits that looks like a
	// secret code: it is never read as one, and the writer is warned.
	SecretWarning bool
	Language      string // to answer a refusal in: "fr" or "en"
}

// Parser turns a message into a command. It is pure: same message, same answer.
type Parser interface {
	Parse(m Message) Parsed
}

// Outgoing is a reply, an announcement or a direct message that the outbox hands to
// a channel.
type Outgoing struct {
	ID             string // of the outbox row; the same at every attempt
	Channel        string
	InReplyTo      string // message id; empty where it is an announcement
	ConversationID string
	// RecipientID is the user id that a direct message goes to. Where it is set the
	// text is for nobody else to read: it must never be published as a post.
	RecipientID  string
	Announcement bool // a post of its own, which answers nobody
	Text         string
	// InDoubt is set where an earlier attempt may have sent it: the channel looks for
	// it first, among what was sent since Since, and sends only what it does not find.
	InDoubt bool
	Since   time.Time // UTC: when it was put into the outbox
}

// Replier sends replies, announcements and direct messages on one channel. Its
// answer is the id of what it sent. An error that is a *SendError says whether and when to try again; any other is
// tried again later.
type Replier interface {
	Reply(ctx context.Context, out Outgoing) (replyID string, err error)
}

// Notice calls a customer to the confirmation page.
type Notice struct {
	ID    string // of the outbox row
	Phone string // E.164
	Text  string // may hold the page's address
}

// Notifier delivers notices (SMS or e-mail gateway, log).
type Notifier interface {
	Notify(ctx context.Context, n Notice) error
}

// SendError is a channel's refusal of something outgoing.
type SendError struct {
	Permanent bool // never try again
	// RetryAfter is for how long the channel takes nothing of the kind; 0: it does,
	// and the outbox tries again as it thinks fit.
	RetryAfter time.Duration
	InDoubt    bool // it may have been sent all the same
	Gone       bool // what it answers is not there any more, or hidden from us: nobody can answer it
	Err        error
}

// Error implements error.
func (e *SendError) Error() string { return e.Err.Error() }

// Unwrap returns the cause.
func (e *SendError) Unwrap() error { return e.Err }
