package web

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"mime"
	"net/http"
	"strconv"
	"strings"
	"time"

	"hostedmcp/auth"
	"hostedmcp/auth/oauth"
)

// The one exit (protocol.md §1, RFC 6749 §5.2): every refusal of the pipeline and of its endpoints becomes an answer
// here, and nowhere else but on /mcp, which speaks bearer challenges (RFC 6750 §3). Three forms:
//
//	e.Redirect != ""                 303 to the client, which learns why (RFC 6749 §4.1.2.1)
//	page endpoint, Accept has html   the page of the reason: what happened, what to do, small print
//	all else                         {"error","error_description"}
//
// The cause of a refusal goes to the log line and nowhere else.

// refuse is a refusal of the pipeline itself.
func refuse(status int, reason oauth.Reason) *oauth.Error {
	return oauth.Fail(oauth.InvalidRequest, reason).With(status)
}

// exit writes err as a redirect, a page or JSON; asPage says which of the latter the endpoint prefers. Nothing may
// have been written yet.
func (h *handler) exit(w *response, r *http.Request, err error, asPage bool) {
	e := h.bridge(w, r, err)
	auth.Request(r.Context()).Fail(e)
	header := w.Header()
	header.Set("Cache-Control", cacheControl(auth.NoStore))
	for _, stale := range []string{"Content-Length", "Content-Encoding", "ETag", "Last-Modified"} {
		header.Del(stale) // of an answer that was prepared before it failed
	}
	if e.Redirect != "" {
		header.Set("Location", e.Redirect)
		w.WriteHeader(http.StatusSeeOther)
		return
	}
	challenge(header, e)
	if asPage && wantsPage(r) {
		page, err := h.pages.errorPage(r, e)
		if err == nil {
			writePage(w, e.Status, page)
			return
		}
		h.log.ErrorContext(r.Context(), "error page", slog.Any("error", err)) // JSON says it as well
	}
	writeJSON(w, e.Status, describe(e))
}

// bridge is the one way from inside to outside: a fault of the body is the sender's, an error that is not ours to
// show is `internal`, and so is a status that would tell of a fault of ours in any other way than 503.
func (h *handler) bridge(w *response, r *http.Request, err error) *oauth.Error {
	var e *oauth.Error
	switch {
	case w.body.tooLarge():
		return refuse(http.StatusRequestEntityTooLarge, oauth.RequestInvalid).Because(err)
	case errors.As(err, &e):
		if e.Status < 400 || e.Status > 599 { // a refusal that forgot to be one
			e = e.With(http.StatusServiceUnavailable)
		}
		return e
	case w.body.failed(), errors.Is(err, context.Canceled) && r.Context().Err() != nil:
		return refuse(http.StatusBadRequest, oauth.RequestInvalid).Because(err) // cut off or too slow
	}
	w.fault = true
	return oauth.Unavailable(oauth.Internal, err)
}

// challenge sets the headers that a status calls for.
func challenge(header http.Header, e *oauth.Error) {
	switch e.Status {
	case http.StatusUnauthorized:
		if e.Basic { // RFC 6749 §5.2
			header.Set("WWW-Authenticate", `Basic realm="hostedmcp"`)
		}
	case http.StatusMethodNotAllowed:
		header.Set("Allow", e.Allow)
	case http.StatusTooManyRequests, http.StatusServiceUnavailable:
		header.Set("Retry-After", retryAfter(e.RetryAfter))
	}
}

// retryAfter is in whole seconds, rounded up, 1..120: a client must neither spin nor give up (protocol.md §1).
func retryAfter(d time.Duration) string {
	seconds := int64((min(max(d, 0), time.Hour) + time.Second - 1) / time.Second)
	return strconv.FormatInt(min(max(seconds, 1), 120), 10)
}

// wantsPage reports whether Accept names text/html: a browser's navigation always does, programs do not.
func wantsPage(r *http.Request) bool {
	for _, line := range r.Header.Values("Accept") {
		for part := range strings.SplitSeq(line, ",") {
			media, params, err := mime.ParseMediaType(part)
			if err == nil && media == "text/html" && !refusedByWeight(params["q"]) {
				return true
			}
		}
	}
	return false
}

// refusedByWeight: a weight of 0 is "not acceptable" (RFC 9110 §12.4.2).
func refusedByWeight(q string) bool {
	weight, err := strconv.ParseFloat(q, 64)
	return q != "" && err == nil && weight == 0
}

func writeJSON(w http.ResponseWriter, status int, v any) {
	body, err := json.Marshal(v)
	if err != nil {
		panic(err) // only maps and structs of strings come here
	}
	h := w.Header()
	h.Set("Content-Type", "application/json")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Content-Length", strconv.Itoa(len(body)))
	w.WriteHeader(status)
	_, _ = w.Write(body) // the client went away: nobody to tell
}
