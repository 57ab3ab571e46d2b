-- Addresses of customers' own pages, and visits to the card processor's page on which
-- cards are registered.
-- +goose Up

-- Addresses under which a customer sees the own account. All secrets are hashed.
CREATE TABLE account_invitations (
    id          uuid PRIMARY KEY,
    customer_id uuid NOT NULL REFERENCES customers (id),
    token_hash  bytea NOT NULL UNIQUE CHECK (length(token_hash) = 32),
    actor       text NOT NULL,
    created_at  timestamptz NOT NULL,
    expires_at  timestamptz NOT NULL,
    closed_at   timestamptz -- NULL: may be used
);
CREATE UNIQUE INDEX account_invitations_one_open ON account_invitations (customer_id) WHERE closed_at IS NULL;

-- Visits to the card processor's page on which a customer registers a card. One is written
-- down before the processor is asked.
CREATE TABLE card_registrations (
    id          uuid PRIMARY KEY, -- the idempotency key at the processor follows from it
    owner_id    uuid NOT NULL, -- the customer, or the enrolment that becomes one, and has the same id
    return_hash bytea NOT NULL UNIQUE CHECK (length(return_hash) = 32), -- of the secret in the address of return
    state       text NOT NULL CHECK (state IN ('requested', 'open', 'registered', 'refused', 'abandoned')),
    reason      text NOT NULL, -- of a refusal; empty otherwise
    detail      text NOT NULL CHECK (length(detail) <= 64), -- of the refused card: "visa 4242", never more of its number
    country     text NOT NULL CHECK (length(country) IN (0, 2)), -- of its issuer, where that is why
    reference   text UNIQUE CHECK (length(reference) BETWEEN 1 AND 255), -- the processor's; NULL: not known
    page_url    text CHECK (length(page_url) BETWEEN 1 AND 2048),
    card_id     uuid REFERENCES cards (id),
    attempts    int8 NOT NULL CHECK (attempts >= 0), -- looks at the processor
    looked_at   timestamptz, -- when somebody who came back had it looked at last
    due_at      timestamptz, -- when it is to be looked at; NULL: nothing is to be done
    created_at  timestamptz NOT NULL,
    expires_at  timestamptz NOT NULL,
    changed_at  timestamptz NOT NULL,
    CONSTRAINT registration_open_has_page CHECK (state <> 'open' OR (reference IS NOT NULL AND page_url IS NOT NULL)),
    CONSTRAINT registration_has_card CHECK ((state = 'registered') = (card_id IS NOT NULL)),
    CONSTRAINT registration_unfinished_is_due CHECK ((state IN ('requested', 'open')) = (due_at IS NOT NULL)),
    CONSTRAINT registration_refused_says_why CHECK ((state = 'refused') = (reason <> ''))
);
CREATE INDEX card_registrations_due ON card_registrations (due_at, id) WHERE due_at IS NOT NULL;
CREATE INDEX card_registrations_of_owner ON card_registrations (owner_id, created_at);

-- Cards that the card processor is to forget. A row goes when it has.
CREATE TABLE card_detachments (
    token      text PRIMARY KEY CHECK (length(token) BETWEEN 1 AND 255),
    reason     text NOT NULL,
    attempts   int8 NOT NULL CHECK (attempts >= 0),
    due_at     timestamptz NOT NULL,
    created_at timestamptz NOT NULL
);
CREATE INDEX card_detachments_due ON card_detachments (due_at, token);

-- +goose Down
DROP TABLE card_detachments;
DROP TABLE card_registrations;
DROP TABLE account_invitations;
