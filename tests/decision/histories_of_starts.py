"""The first tunnel of a forward, which is started before anything is known: web-1 is ready, web-2 terminating."""

from __future__ import annotations

STARTS = {
    "kubectl has chosen a pod that may be used": """
#1 goes to web-1
#1 is ready
the target is read and its pods are listed
    #1 is on web-1, as wanted
    #1 serving
    tell active: localhost:80 → service/web, pod web-1:8080
""",
    "the pods are listed before kubectl has chosen": """
the target is read and its pods are listed
#1 goes to web-1
    #1 is on web-1, as wanted
#1 is ready
    #1 serving
    tell active: localhost:80 → service/web, pod web-1:8080
""",
    "kubectl has chosen a pod that goes": """
#1 goes to web-2
#1 is ready
the target is read and its pods are listed
    #1 ended: it is not needed any more
    start #2 on web-1
#2 is ready
    #2 serving
    tell active: localhost:80 → service/web, pod web-1:8080
""",
    "kubectl could not start": """
#1 ends: forbidden
    #1 ended: kubectl said that it no longer forwards, or ended
the target is read and its pods are listed
    start #2 on web-1
#2 is ready
    #2 serving
    tell active: localhost:80 → service/web, pod web-1:8080
""",
    "kubectl says nothing and ends": """
the target is read and its pods are listed
#1 ends: other
    #1 ended: kubectl said that it no longer forwards, or ended
    start #2 on web-1
#2 is ready
    #2 serving
    tell active: localhost:80 → service/web, pod web-1:8080
""",
}
