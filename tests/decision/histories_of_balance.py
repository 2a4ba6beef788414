"""The rules of `balance` as histories."""

from __future__ import annotations

# Three pods are ready, and nothing has happened yet. At most three kubectls.
BALANCE = {
    "all start beside each other, and the fewest connections come first": """
0 s pass
    tell connecting: looking for a pod of app=web
    start #1 on web-3
    start #2 on web-2
    start #3 on web-1
#2 is ready
    #2 serving
    tell active: localhost:80 → app=web, pod web-2:8080, 1 of 3 pods
a connects
    a gets #2
b connects
    b gets #2
#3 is ready
    #3 serving
c connects
    c gets #3
d connects
    d gets #3
e connects
    e gets #2
#1 is ready
    #1 serving
    tell active: connections go to 3 of 3 pods
f connects
    f gets #1
g connects
    g gets #1
h connects
    h gets #3
i connects
    i gets #1
b leaves
j connects
    j gets #2
""",
    "a pod that is deleted takes no connection of another": """
0 s pass
    tell connecting: looking for a pod of app=web
    start #1 on web-3
    start #2 on web-2
    start #3 on web-1
#1 is ready
    #1 serving
    tell active: localhost:80 → app=web, pod web-3:8080, 1 of 3 pods
#2 is ready
    #2 serving
#3 is ready
    #3 serving
    tell active: connections go to 3 of 3 pods
a connects
    a gets #1
b connects
    b gets #2
c connects
    c gets #3
web-3 is deleted
    #1 retiring: another pod is to be used
    tell active: web-3 is terminating; connections go to 2 of 2 pods
d connects
    d gets #2
e connects
    e gets #3
f connects
    f gets #2
web-3 is gone
#1 ends: lost-connection
    a is cut off
    #1 ended: kubectl said that it no longer forwards, or ended
g connects
    g gets #3
""",
    "scaled up and down": """
0 s pass
    tell connecting: looking for a pod of app=web
    start #1 on web-3
    start #2 on web-2
    start #3 on web-1
#1 is ready
    #1 serving
    tell active: localhost:80 → app=web, pod web-3:8080, 1 of 3 pods
#2 is ready
    #2 serving
#3 is ready
    #3 serving
    tell active: connections go to 3 of 3 pods
web-1 is deleted
    #3 retiring: another pod is to be used
    tell active: web-1 is terminating; connections go to 2 of 2 pods
    #3 ended: it has no connections left
web-4 is ready
    start #4 on web-4
#4 is ready
    #4 serving
    tell active: connections go to 3 of 3 pods
a connects
    a gets #1
""",
    "a kubectl that ends is replaced, and nothing else": """
0 s pass
    tell connecting: looking for a pod of app=web
    start #1 on web-3
    start #2 on web-2
    start #3 on web-1
#1 is ready
    #1 serving
    tell active: localhost:80 → app=web, pod web-3:8080, 1 of 3 pods
#2 is ready
    #2 serving
#3 is ready
    #3 serving
    tell active: connections go to 3 of 3 pods
a connects
    a gets #1
b connects
    b gets #2
c connects
    c gets #3
d connects
    d gets #1
20 s pass
#2 ends: lost-connection
    b is cut off
    #2 ended: kubectl said that it no longer forwards, or ended
    tell active: kubectl ended: lost-connection; connections go to 2 of 3 pods
    start #4 on web-2
e connects
    e gets #3
#4 is ready
    #4 serving
    tell active: connections go to 3 of 3 pods
f connects
    f gets #4
g connects
    g gets #4
""",
    "a pod that refuses connections is tested before it gets one again": """
0 s pass
    tell connecting: looking for a pod of app=web
    start #1 on web-3
    start #2 on web-2
    start #3 on web-1
#1 is ready
    #1 serving
    tell active: localhost:80 → app=web, pod web-3:8080, 1 of 3 pods
#2 is ready
    #2 serving
#3 is ready
    #3 serving
    tell active: connections go to 3 of 3 pods
#2 says remote-refused
    #2 retiring: kubectl said that it no longer forwards, or ended
    tell active: kubectl says remote-refused; connections go to 2 of 3 pods
    #2 ended: it has no connections left
#2 ends: remote-refused
a connects
    a gets #1
0.5 s pass
    start #4 on web-2, test it first
#4 ends: remote-refused
    #4 ended: kubectl said that it no longer forwards, or ended
1 s pass
    start #5 on web-2, test it first
#5 is ready
    #5 serving
    tell active: connections go to 3 of 3 pods
b connects
    b gets #3
c connects
    c gets #5
d connects
    d gets #1
""",
    "one that can't be reached does not delay the others": """
0 s pass
    tell connecting: looking for a pod of app=web
    start #1 on web-3
    start #2 on web-2
    start #3 on web-1
#1 ends: upgrade-refused
    #1 ended: kubectl said that it no longer forwards, or ended
#2 is ready
    #2 serving
    tell active: localhost:80 → app=web, pod web-2:8080, 1 of 3 pods
#3 is ready
    #3 serving
    tell active: connections go to 2 of 3 pods
0.5 s pass
    start #4 on web-3
#4 ends: upgrade-refused
    #4 ended: kubectl said that it no longer forwards, or ended
web-3 is deleted
web-4 is ready
    start #5 on web-4
#5 is ready
    #5 serving
    tell active: connections go to 3 of 3 pods
""",
    "none can be reached: that uses up attempts": """
0 s pass
    tell connecting: looking for a pod of app=web
    start #1 on web-3
    start #2 on web-2
    start #3 on web-1
#1 ends: upgrade-refused
    #1 ended: kubectl said that it no longer forwards, or ended
#2 ends: upgrade-refused
    #2 ended: kubectl said that it no longer forwards, or ended
#3 ends: upgrade-refused
    #3 ended: kubectl said that it no longer forwards, or ended
    tell reconnecting: attempt 1 of 3 in 0.5 s: kubectl ended: upgrade-refused (pod web-3)
0.5 s pass
    tell connecting: starting kubectl for pod/web-3, port 8080
    start #4 on web-3
    start #5 on web-2
    start #6 on web-1
""",
    "all pods go at once": """
0 s pass
    tell connecting: looking for a pod of app=web
    start #1 on web-3
    start #2 on web-2
    start #3 on web-1
#1 is ready
    #1 serving
    tell active: localhost:80 → app=web, pod web-3:8080, 1 of 3 pods
#2 is ready
    #2 serving
#3 is ready
    #3 serving
    tell active: connections go to 3 of 3 pods
a connects
    a gets #1
web-1 is deleted
    #3 retiring: another pod is to be used
    tell active: web-1 is terminating; connections go to 2 of 2 pods
    #3 ended: it has no connections left
web-2 is deleted
    #2 retiring: another pod is to be used
    tell active: web-2 is terminating; connections go to 1 of 1 pod
    #2 ended: it has no connections left
web-3 is deleted
    #1 retiring: another pod is to be used
    tell waiting: lost web-3, which is terminating
b connects
web-4 is ready
    tell connecting: starting kubectl for pod/web-4, port 8080
    start #4 on web-4
#4 is ready
    #4 serving
    tell moved: web-3 is terminating → web-4:8080, 1 of 1 pod
    b gets #4
""",
    "the line dies": """
0 s pass
    tell connecting: looking for a pod of app=web
    start #1 on web-3
    start #2 on web-2
    start #3 on web-1
#1 is ready
    #1 serving
    tell active: localhost:80 → app=web, pod web-3:8080, 1 of 3 pods
#2 is ready
    #2 serving
#3 is ready
    #3 serving
    tell active: connections go to 3 of 3 pods
a connects
    a gets #1
connections to the API server had died
    #1 suspect: connections to the API server had died
    #2 suspect: connections to the API server had died
    #3 suspect: connections to the API server had died
    tell connecting: starting kubectl for pod/web-3, port 8080
    start #4 on web-3
    start #5 on web-2
    start #6 on web-1
    #2 ended: it has no connections left
    #3 ended: it has no connections left
b connects
#5 is ready
    #5 serving
    tell moved: connections to the API server had died → a fresh kubectl on web-2:8080, 1 of 3 pods
    check #1
    b gets #5
#6 is ready
    #6 serving
#4 is ready
    #4 serving
    tell active: connections go to 3 of 3 pods
#3 does not answer the check
""",
    "nothing comes from the API server, until it answers that it refuses": """
0 s pass
    tell connecting: looking for a pod of app=web
    start #1 on web-3
    start #2 on web-2
    start #3 on web-1
#1 is ready
    #1 serving
    tell active: localhost:80 → app=web, pod web-3:8080, 1 of 3 pods
#2 is ready
    #2 serving
#3 is ready
    #3 serving
    tell active: connections go to 3 of 3 pods
nothing comes from the API server
    #1 suspect: nothing came from the API server any more
    #2 suspect: nothing came from the API server any more
    #3 suspect: nothing came from the API server any more
    tell reconnecting: as soon as the API server answers: the API server does not answer
a connects
the API server answers, and refuses
    #1 serving
    #2 serving
    #3 serving
    tell active: the API server answers again: the kubectl that it had serves on
    a gets #1
b connects
    b gets #2
""",
    "one gives no answer": """
0 s pass
    tell connecting: looking for a pod of app=web
    start #1 on web-3
    start #2 on web-2
    start #3 on web-1
#1 is ready
    #1 serving
    tell active: localhost:80 → app=web, pod web-3:8080, 1 of 3 pods
#2 is ready
    #2 serving
#3 is ready
    #3 serving
    tell active: connections go to 3 of 3 pods
a connects
    a gets #1
20 s pass
#1 has not answered for 5 s
    #1 suspect: nothing has come back for 5 s, as from a dead tunnel
    tell active: nothing has come back for 5 s, as from a dead tunnel; connections go to 2 of 3 pods
    start #4 on web-3
    check #1
b connects
    b gets #2
c connects
    c gets #3
#4 is ready
    #4 serving
    tell active: connections go to 3 of 3 pods
#1 answers the check
    #1 retiring: nothing has come back for 5 s, as from a dead tunnel
""",
    "a restart": """
0 s pass
    tell connecting: looking for a pod of app=web
    start #1 on web-3
    start #2 on web-2
    start #3 on web-1
#1 is ready
    #1 serving
    tell active: localhost:80 → app=web, pod web-3:8080, 1 of 3 pods
#2 is ready
    #2 serving
#3 is ready
    #3 serving
    tell active: connections go to 3 of 3 pods
the user restarts it
    #1 ended: the user wants a fresh one
    #2 ended: the user wants a fresh one
    #3 ended: the user wants a fresh one
    tell connecting: restarted: looking for a pod of app=web
    start #4 on web-3
    start #5 on web-2
    start #6 on web-1
#5 is ready
    #5 serving
    tell active: localhost:80 → app=web, pod web-2:8080, 1 of 3 pods
#4 is ready
    #4 serving
#6 is ready
    #6 serving
    tell active: connections go to 3 of 3 pods
""",
}

# Five pods are ready.
CROWD = {
    "more pods than kubectls: the newest are used, and when one goes the next takes its place": """
0 s pass
    tell connecting: looking for a pod of app=web
    start #1 on web-5
    start #2 on web-4
    start #3 on web-3
#1 is ready
    #1 serving
    tell active: localhost:80 → app=web, pod web-5:8080, 1 of 5 pods
#2 is ready
    #2 serving
#3 is ready
    #3 serving
    tell active: connections go to 3 of 5 pods
web-6 is ready
web-4 is deleted
    #2 retiring: another pod is to be used
    tell active: web-4 is terminating; connections go to 2 of 5 pods
    start #4 on web-6
    #2 ended: it has no connections left
#4 is ready
    #4 serving
    tell active: connections go to 3 of 5 pods
20 s pass
#3 ends: lost-connection
    #3 ended: kubectl said that it no longer forwards, or ended
    tell active: kubectl ended: lost-connection; connections go to 2 of 5 pods
    start #5 on web-3
#5 is ready
    #5 serving
    tell active: connections go to 3 of 5 pods
""",
}
