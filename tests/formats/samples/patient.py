# SPDX-License-Identifier: Apache-2.0
"""The person in every sample: what a reader must not keep, and what it may."""

SECRETS = ("Zebulon", "Quagmire", "HN-470815", "1961", "19610704", "Harbour Lane 7")
NAME, FAMILY, HOSPITAL_ID, ADDRESS = SECRETS[0], SECRETS[1], SECRETS[2], SECRETS[5]
BORN = (1961, 7, 4)
RECORDED = (2019, 3, 2, 10, 11, 12)
DEVICE = "Testograph"
FACTS = {"age": 57, "sex": "female", "device": DEVICE, "date": "2019-03-02 10:11:12"}
