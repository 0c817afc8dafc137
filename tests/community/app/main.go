// The application of the community's SMI conformance suite, written anew: its suite is judged by what this
// application counts, so it counts the same things under the same names.
//
//	POST   /call     {"url", "method", "body", "headers"}: makes that call and notes how it was answered
//	any    /echo     the request, as it came
//	GET    /metrics  {"ReqReceived", "RespSucceeded", "RespFailed"}
//	DELETE /metrics  forgets all of that
//
// It has to be Go: Go's resolver refuses a name with an empty label (app-b.ns..svc.cluster.local.) before a packet
// leaves, while Go's proxy client hands it on as it is. Both are what the suite meets in the field.
package main

import (
	"encoding/json"
	"io"
	"log"
	"net/http"
	"os"
	"strings"
	"sync"
	"time"
)

// callerHeader carries the caller's SERVICE_NAME: who called is taken from it, not from an address.
const callerHeader = "ServiceName"

// Outcome is one answered call. The suite knows no Status; it is here to tell a denial from a sidecar's 502 or 503.
type Outcome struct {
	URL     string
	Method  string
	Headers map[string]string
	Status  int
}

// Order is what /call is asked for.
type Order struct {
	URL     string            `json:"url"`
	Method  string            `json:"method"`
	Body    string            `json:"body"`
	Headers map[string]string `json:"headers"`
}

// Counted is what /metrics shows.
type Counted struct {
	ReqReceived   []string
	RespSucceeded []Outcome
	RespFailed    []Outcome
}

func nothing() Counted {
	return Counted{ReqReceived: []string{}, RespSucceeded: []Outcome{}, RespFailed: []Outcome{}}
}

// App counts what came and what was answered.
type App struct {
	name   string
	lock   sync.Mutex
	counts Counted
}

func (app *App) received(next http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		caller := r.Header.Get(callerHeader)
		if caller == "" {
			caller = "Unidentified"
		}
		app.lock.Lock()
		app.counts.ReqReceived = append(app.counts.ReqReceived, caller)
		app.lock.Unlock()
		next(w, r)
	}
}

func (app *App) call(w http.ResponseWriter, r *http.Request) {
	var order Order
	if err := json.NewDecoder(r.Body).Decode(&order); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	request, err := http.NewRequest(order.Method, order.URL, strings.NewReader(order.Body))
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	for name, value := range order.Headers {
		request.Header.Set(name, value)
	}
	request.Header.Set(callerHeader, app.name)
	// The default client keeps connections alive from one step of the suite to the next and heeds HTTP_PROXY.
	answer, err := http.DefaultClient.Do(request)
	if err != nil {
		// A call without an answer is noted nowhere: a reset is no denial.
		log.Println(err)
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	defer answer.Body.Close()
	app.note(Outcome{URL: order.URL, Method: order.Method, Headers: order.Headers, Status: answer.StatusCode})
	io.Copy(w, answer.Body)
}

func (app *App) note(outcome Outcome) {
	app.lock.Lock()
	defer app.lock.Unlock()
	if outcome.Status >= 200 && outcome.Status < 400 {
		app.counts.RespSucceeded = append(app.counts.RespSucceeded, outcome)
	} else {
		app.counts.RespFailed = append(app.counts.RespFailed, outcome)
	}
}

func echo(w http.ResponseWriter, r *http.Request) {
	r.Write(w)
}

func (app *App) metrics(w http.ResponseWriter, r *http.Request) {
	app.lock.Lock()
	defer app.lock.Unlock()
	switch r.Method {
	case http.MethodGet:
		w.Header().Set("Content-Type", "application/json")
		json.NewEncoder(w).Encode(app.counts)
	case http.MethodDelete:
		app.counts = nothing()
	default:
		http.Error(w, "GET or DELETE", http.StatusBadRequest)
	}
}

func main() {
	app := &App{name: os.Getenv("SERVICE_NAME"), counts: nothing()}
	mux := http.NewServeMux()
	mux.HandleFunc("/call", app.received(app.call))
	mux.HandleFunc("/echo", app.received(echo))
	mux.HandleFunc("/metrics", app.metrics)
	server := &http.Server{Addr: ":9091", Handler: mux, ReadHeaderTimeout: 10 * time.Second}
	log.Fatal(server.ListenAndServe())
}
