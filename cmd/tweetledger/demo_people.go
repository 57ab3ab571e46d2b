package main

import (
	"context"
	"fmt"
	"html"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"regexp"
	"strings"
	"time"

	"tweetledger/adapters/twitter"
	"tweetledger/internal/payments"
	"tweetledger/ledger"
)

// person is somebody of the story: a customer, or somebody who only has a
// Twitter account.
type person struct {
	name, handle, id string
	phone            string
	code             string // the secret code, as only the person knows it
	customer         payments.Customer
}

// The people of the story, by handle. The ids are those of the simulated X.
func cast() []*person {
	return []*person{
		{name: "Marie Laurent", handle: "marie_test", id: "700000101", phone: "+33612000101", code: "274951"},
		{name: "Yoann Petit", handle: "yoann_test", id: "700000102", phone: "+33612000102", code: "836402"},
		{name: "Chloé Bernard", handle: "chloe_test", id: "700000103", phone: "+33712000103", code: "591773"},
		{name: "Hugo (no customer)", handle: "hugo_test", id: "700000104"},
	}
}

const (
	charityCode   = "acf"
	charityHandle = "ACF_France"
	charityID     = "700000201"
)

// enrol opens what a person needs to pay.
func (d *demo) enrol(ctx context.Context, p *person, topUp ledger.Amount, named bool) error {
	var err error
	if p.customer, err = d.payments.EnrolCustomer(ctx, payments.NewCustomer{Name: p.name, Phone: p.phone, Named: named}); err != nil {
		return err
	}
	if err := d.payments.LinkCustomer(ctx, twitter.Channel, p.id, p.handle, p.customer.Number); err != nil {
		return err
	}
	if err := d.payments.SetSecretCode(ctx, p.customer.Number, p.code, "demo"); err != nil {
		return err
	}
	_, err = d.payments.TopUp(ctx, p.customer.Number, topUp, "card-"+p.handle)
	return err
}

// tweet publishes a tweet on the simulated X and waits until it came out of the
// stream and was handled.
func (d *demo) tweet(ctx context.Context, handle, text string) (arrival, error) {
	p := d.people[handle]
	d.says(first(p.name), "%s", text)
	return d.awaitTweet(ctx, d.x.Tweet(p.id, text))
}

// first is what friends call somebody.
func first(name string) string {
	short, _, _ := strings.Cut(name, " ")
	return short
}

// patience bounds how long the story waits for anything.
const patience = 10 * time.Second

// awaitTweet waits until a tweet was handled.
func (d *demo) awaitTweet(ctx context.Context, id string) (arrival, error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	for {
		select {
		case got := <-d.arrived:
			if got.message.ID == id {
				return got, nil
			}
		case <-ctx.Done():
			return arrival{}, fmt.Errorf("tweet %s did not come out of the stream: %w", id, ctx.Err())
		}
	}
}

// answers sends what is in the outbox and tells the replies to a tweet.
func (d *demo) answers(ctx context.Context, tweet string) error {
	if err := d.deliver(ctx); err != nil {
		return err
	}
	for _, reply := range d.x.RepliesTo(tweet) {
		if d.told[reply.ID] {
			continue
		}
		d.told[reply.ID] = true
		d.says("@"+d.settings.Twitter.BankHandle, "%s", reply.Text)
	}
	return nil
}

// confirm opens the link of the newest notice to a person on the confirmation
// page, as a browser does, and enters a code. It returns what the page says.
func (d *demo) confirm(ctx context.Context, p *person, code string) (string, error) {
	if err := d.deliver(ctx); err != nil {
		return "", err
	}
	link := ""
	for _, notice := range d.phone.Notices() {
		if notice.Phone == p.phone {
			link = linkPattern.FindString(notice.Text)
		}
	}
	if link == "" {
		return "", fmt.Errorf("no message with a link reached %s", p.name)
	}
	jar, err := cookiejar.New(nil)
	if err != nil {
		return "", fmt.Errorf("make a cookie jar: %w", err)
	}
	browser := &http.Client{Jar: jar, Timeout: patience}
	page, err := d.fetch(ctx, browser, http.MethodGet, link, nil)
	if err != nil {
		return "", err
	}
	form := url.Values{"code": {code}}
	for _, field := range hiddenPattern.FindAllStringSubmatch(page, -1) {
		form.Set(field[1], html.UnescapeString(field[2]))
	}
	answer, err := d.fetch(ctx, browser, http.MethodPost, link, form)
	if err != nil {
		return "", err
	}
	heading := problemPattern.FindStringSubmatch(answer)
	if heading == nil {
		heading = headingPattern.FindStringSubmatch(answer)
	}
	if heading == nil {
		return "", fmt.Errorf("the confirmation page has no heading")
	}
	return strings.TrimSpace(html.UnescapeString(heading[1])), nil
}

var (
	linkPattern    = regexp.MustCompile(`https?://\S+`)
	hiddenPattern  = regexp.MustCompile(`<input type="hidden" name="([^"]*)" value="([^"]*)"`)
	problemPattern = regexp.MustCompile(`<p id="problem"[^>]*>([^<]*)</p>`)
	headingPattern = regexp.MustCompile(`<h1[^>]*>([^<]*)</h1>`)
)

// maxPage bounds what the story reads of a page.
const maxPage = 1 << 20

func (d *demo) fetch(ctx context.Context, browser *http.Client, method, address string, form url.Values) (string, error) {
	request, err := http.NewRequestWithContext(ctx, method, address, strings.NewReader(form.Encode()))
	if err != nil {
		return "", fmt.Errorf("open the confirmation page: %w", err)
	}
	if form != nil {
		request.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		request.Header.Set("Origin", d.pagesURL)
	}
	response, err := browser.Do(request)
	if err != nil {
		return "", fmt.Errorf("open the confirmation page: %w", err)
	}
	defer func() { _ = response.Body.Close() }()
	body, err := io.ReadAll(io.LimitReader(response.Body, maxPage))
	if err != nil {
		return "", fmt.Errorf("read the confirmation page: %w", err)
	}
	return string(body), nil
}
