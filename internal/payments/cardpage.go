package payments

import (
	"context"
	"time"
)

// CardPages has the processor's own page on which a cardholder enters a card: no card
// number ever comes here. As with charges, only what a later lookup says is believed.
type CardPages interface {
	// OpenCardPage opens a page for one card, once for each key.
	OpenCardPage(ctx context.Context, r CardPageRequest) (CardPageStatus, error)
	// LookupCardPage says how a page stands. One that the processor does not know is
	// CodeNotFound.
	LookupCardPage(ctx context.Context, reference string) (CardPageStatus, error)
	// CloseCardPage keeps a page from ever being completed, and says how it stands then:
	// it may have been completed in the meantime.
	CloseCardPage(ctx context.Context, reference string) (CardPageStatus, error)
	// ForgetCard takes a card from the processor's memory, as far as it serves payments
	// to come. One that it does not know, or has forgotten, is no error.
	ForgetCard(ctx context.Context, token string) error
}

// CardPageRequest asks for a page on which a cardholder enters a card.
type CardPageRequest struct {
	Key       string    // ours: the processor's idempotency key
	Language  string    // to speak
	ReturnURL string    // where the cardholder goes afterwards, however it ended
	ExpiresAt time.Time // then the page ends by itself
}

// CardPageResult is what became of a page.
type CardPageResult string

// The results of a page.
const (
	CardPageOpen     CardPageResult = "open"
	CardPageComplete CardPageResult = "complete" // the card is registered there
	CardPageOver     CardPageResult = "over"
)

// CardPageStatus is how a page stands at the processor.
type CardPageStatus struct {
	Reference string // the processor's, 1 to 255 characters
	Result    CardPageResult
	URL       string // of CardPageOpen
	Token     string // of the card, of CardPageComplete
}
