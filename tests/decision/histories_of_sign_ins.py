"""What a forward says while somebody signs in: web-1 is ready."""

from __future__ import annotations

# Before anything is known of the target and its pods.
AT_THE_START = {
    "somebody has to be asked": """
a sign-in begins
1.9 s pass
0.2 s pass
    tell waiting: signing in with login since 1000; connections to localhost:80 are held
60 s pass
the sign-in succeeds
    tell connecting: signed in; looking for a pod of app=web
the target is read and its pods are listed
    start #1 on web-1
#1 is ready
    #1 serving
    tell active: localhost:80 → app=web, pod web-1:8080
""",
    "nobody has to be asked": """
a sign-in begins
1.5 s pass
the sign-in succeeds
the target is read and its pods are listed
    start #1 on web-1
#1 is ready
    #1 serving
    tell active: localhost:80 → app=web, pod web-1:8080
""",
    "it fails, and is begun again": """
a sign-in begins
3 s pass
    tell waiting: signing in with login since 1000; connections to localhost:80 are held
the sign-in fails
the target can't be read without it
    tell failed: the plugin failed
a sign-in begins
2 s pass
    tell waiting: signing in with login since 1003; connections to localhost:80 are held
the sign-in fails
    tell failed: the plugin failed
a sign-in begins
2 s pass
    tell waiting: signing in with login since 1005; connections to localhost:80 are held
the sign-in succeeds
    tell connecting: signed in; looking for a pod of app=web
the pods are listed again
    start #1 on web-1
""",
}
# #1 serves on web-1, and a client is connected.
LATER = {
    "a tunnel is ready all the same": """
#1 ends: lost-connection
    open is cut off
    #1 ended: kubectl said that it no longer forwards, or ended
    tell reconnecting: attempt 1 of 3 now: kubectl ended: lost-connection (pod web-1)
    tell connecting: starting kubectl for pod/web-1, port 8080
    start #2 on web-1
a sign-in begins
3 s pass
    tell waiting: signing in with login since 1005; connections to localhost:80 are held
#2 is ready
    #2 serving
    tell connecting: starting kubectl for pod/web-1, port 8080
    tell active: localhost:80 → app=web, pod web-1:8080 (3.00 s)
the sign-in succeeds
""",
    "a forward that is active stays so": """
a sign-in begins
5 s pass
the sign-in fails
""",
    "a new tunnel waits for it": """
#1 ends: lost-connection
    open is cut off
    #1 ended: kubectl said that it no longer forwards, or ended
    tell reconnecting: attempt 1 of 3 now: kubectl ended: lost-connection (pod web-1)
    tell connecting: starting kubectl for pod/web-1, port 8080
    start #2 on web-1
a sign-in begins
late connects
3 s pass
    tell waiting: signing in with login since 1005; connections to localhost:80 are held
the sign-in succeeds
    tell connecting: signed in; looking for a pod of app=web
#2 is ready
    #2 serving
    tell active: localhost:80 → app=web, pod web-1:8080 (3.00 s)
    late gets #2
""",
}
