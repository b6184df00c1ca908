package demo

import (
	"cmp"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
)

// query reads parameters strictly and collects every fault: an agent that misspells a filter must not take all records
// for those it asked for.
type query struct {
	values url.Values
	known  []string
	faults []string
}

func newQuery(r *http.Request) *query {
	values, err := url.ParseQuery(r.URL.RawQuery)
	q := &query{values: values}
	if err != nil {
		q.fault("the query cannot be read")
	}
	return q
}

func (q *query) fault(text string) { q.faults = append(q.faults, text) }

// text returns a parameter that may be there once, "" if it is not.
func (q *query) text(name string) string {
	q.known = append(q.known, name)
	if len(q.values[name]) > 1 {
		q.fault(name + " is there twice")
	}
	if q.values.Has(name) && q.values.Get(name) == "" {
		q.fault(name + " is empty: leave it out")
	}
	return q.values.Get(name)
}

// date returns a day, "" if there is none.
func (q *query) date(name string) date {
	s := q.text(name)
	if s == "" {
		return ""
	}
	if _, err := time.Parse(time.DateOnly, s); err != nil {
		q.fault(name + " is no day: write YYYY-MM-DD")
	}
	return date(s)
}

// number returns a whole number between low and high, or otherwise if there is none.
func (q *query) number(name string, low, high, otherwise int) int {
	s := q.text(name)
	if s == "" {
		return otherwise
	}
	n, err := strconv.Atoi(s)
	if err != nil || n < low || n > high {
		q.fault(name + " is no whole number from " + strconv.Itoa(low) + " to " + strconv.Itoa(high))
	}
	return n
}

// choice returns one of a list, "" if there is none.
func (q *query) choice(name string, list ...string) string {
	s := q.text(name)
	if s != "" && !slices.Contains(list, s) {
		q.fault(name + " is none of " + strings.Join(list, ", "))
	}
	return s
}

// choices returns a parameter that may be repeated.
func (q *query) choices(name string, list ...string) []string {
	q.known = append(q.known, name)
	for _, s := range q.values[name] {
		if !slices.Contains(list, s) {
			q.fault(name + " is none of " + strings.Join(list, ", "))
		}
	}
	return q.values[name]
}

// words returns what q asks for, in lower case.
func (q *query) words() []string { return strings.Fields(strings.ToLower(q.text("q"))) }

// problem names every fault, and every parameter that was not asked for.
func (q *query) problem() *problem {
	for name := range q.values {
		if !slices.Contains(q.known, name) {
			q.fault("there is no parameter " + strconv.QuoteToASCII(name) + "; there are " + strings.Join(q.known, ", "))
		}
	}
	if len(q.faults) == 0 {
		return nil
	}
	slices.Sort(q.faults)
	return problemf(http.StatusBadRequest, "%s", strings.Join(q.faults, "; "))
}

// contains reports whether all words occur in the fields.
func contains(words []string, fields ...string) bool {
	text := strings.ToLower(strings.Join(fields, "\n"))
	return !slices.ContainsFunc(words, func(w string) bool { return !strings.Contains(text, w) })
}

// within reports whether a day is in a period of which either end may be open.
func within(d, from, to date) bool { return (from == "" || d >= from) && (to == "" || d <= to) }

// is reports whether a filter is absent or fits.
func is(filter, value string) bool { return filter == "" || filter == value }

// page is one page of a list.
type page[T any] struct {
	Items []T    `json:"items"`
	Total int    `json:"total"`
	Next  string `json:"next_cursor,omitempty"`
}

// pageOf keeps what fits, orders it and cuts the page out. The cursor names the last record of the page before and the
// filters: it goes on behind that record, whatever was written meanwhile, and only in the list that it is from.
func pageOf[T any](q *query, records []T, fits func(*T) bool, order func(a, b *T) int, id func(*T) string) (any, *problem) {
	limit, cursor := q.number("limit", 1, 100, 20), q.text("cursor")
	if p := q.problem(); p != nil {
		return nil, p
	}
	kept := make([]T, 0, len(records))
	for i := range records {
		if fits(&records[i]) {
			kept = append(kept, records[i])
		}
	}
	slices.SortStableFunc(kept, func(a, b T) int { return cmp.Or(order(&a, &b), cmp.Compare(id(&a), id(&b))) })
	begin := 0
	if cursor != "" {
		begin = 1 + slices.IndexFunc(kept, func(t T) bool { return q.cursor(id(&t)) == cursor })
		if begin == 0 {
			return nil, problemf(http.StatusBadRequest, "cursor is not of this list: begin again without it")
		}
	}
	end := min(begin+limit, len(kept))
	p := page[T]{Items: kept[begin:end], Total: len(kept)}
	if end < len(kept) {
		p.Next = q.cursor(id(&kept[end-1]))
	}
	return p, nil
}

// cursor is made of the record and the filters, so that it needs no table and can be compared.
func (q *query) cursor(after string) string {
	filters := url.Values{}
	for name, values := range q.values {
		if name != "limit" && name != "cursor" {
			filters[name] = values
		}
	}
	sum := sha256.Sum256([]byte(filters.Encode()))
	return base64.RawURLEncoding.EncodeToString([]byte(after + "." + hex.EncodeToString(sum[:4])))
}
